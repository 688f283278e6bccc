// `npm start`: the whole mesh on this machine with nothing installed but Node. Says what it does while it does it,
// keeps its data in .data (DATA_DIR), and leaves no process behind when it is told to stop.
import { resolve } from 'node:path';
import { makeTraversableFolder } from '../local/accounts.ts';
import { checkPort, freePort } from '../local/ports.ts';
import { openStackLog } from '../local/stack-log.ts';
import { acquireLock } from '../local/start-lock.ts';

const root = resolve(import.meta.dirname, '..');
const dataDir = resolve(root, process.env.DATA_DIR || '.data');
const host = process.env.HOST || '127.0.0.1';
/** npm passes on a signal that the terminal has sent to us already; only a later one means "at once". */
const echoMs = 1_000;

try {
  await main();
} catch (error) {
  const { message, code } = error as NodeJS.ErrnoException;
  refuse(code === 'EACCES' ? `${message}. Start as the owner of that file, or set DATA_DIR.` : message);
}

async function main(): Promise<void> {
  process.stdout.on('error', () => undefined); // the terminal is gone; the mesh is not
  makeTraversableFolder(dataDir);
  const lock = acquireLock(resolve(dataDir, 'lock'));
  if ('heldBy' in lock) {
    refuse(
      `Another PromoPulse (process ${lock.heldBy}) runs on ${dataDir}. Stop it, or set PORT and DATA_DIR for a second one.`,
    );
  }
  process.once('exit', lock.release);
  const port = await gatewayPort(process.env.PORT || '8000');
  const logFile = resolve(dataDir, 'services.log');
  const log = openStackLog(logFile, print);
  let stopping: Promise<never> | undefined;
  const stop = async (exitCode: number): Promise<never> => {
    await starting.then(
      (stack) => stack.close(),
      () => undefined, // it has cleaned up itself
    );
    await log.close();
    print('Stopped.');
    process.exit(exitCode);
  };
  onSignals((reason) => {
    print(`\n${reason}: stopping …  (again: at once)`);
    stopping = stop(0);
  });
  process.on('uncaughtException', ({ name, stack }: Error) => {
    const frames = stack?.split('\n').filter((line) => line.startsWith('    at ')) ?? []; // the message may quote data
    print(`Unexpected ${name}; please report it:\n${frames.join('\n')}`);
    stopping ??= stop(1);
  });

  const startedAt = performance.now();
  print('PromoPulse is starting …');
  const options = { env: process.env, dataDir, host, port, logDestination: log };
  // Loading the services takes a moment: after the first words.
  const starting = import('../local/stack.ts').then(({ startStack }) =>
    startStack({ ...options, print: (line) => print(`  ${line}`) }),
  );
  const stack = await starting.catch(async (error: Error) => {
    await (stopping ?? log.close());
    throw error;
  });
  if (stopping) await stopping;
  const url = `http://${host === '127.0.0.1' || host === '0.0.0.0' ? 'localhost' : host}:${stack.port}`;
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  print(`
PromoPulse is up after ${seconds} s
  API     ${url}
  docs    ${url}/docs
  health  ${url}/health
  log     ${logFile}

Stop it with Ctrl-C. The data stays for the next start.`);
}

async function gatewayPort(text: string): Promise<number> {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    refuse(`PORT must be a number from 0 to 65535, not "${text}".`);
  }
  if (port === 0) return freePort();
  const problem = await checkPort(port, host);
  if (!problem) return port;
  const reason = problem === 'taken' ? `Port ${port} is taken by another program` : `${host}:${port} says ${problem}`;
  refuse(`${reason}. Choose another: PORT=${await freePort(8080)} npm start`);
}

function onSignals(stop: (reason: string) => void): void {
  let since: number | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (since === undefined) {
        since = Date.now();
        stop(signal === 'SIGINT' ? 'Ctrl-C' : signal);
      } else if (Date.now() - since > echoMs) process.exit(1);
    });
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function refuse(reason: string): never {
  process.stderr.write(`PromoPulse cannot start. ${reason}\n`);
  return process.exit(1);
}
