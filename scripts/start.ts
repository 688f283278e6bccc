// `npm start`: all of PromoPulse on this machine, with nothing installed but Node. It prints each step, keeps its data in
// .data (DATA_DIR), and stops every process that it started when it receives SIGINT, SIGTERM or SIGHUP.
import { resolve } from 'node:path';
import { explainStartError } from '@promopulse/shared/process';
import { makeTraversableFolder } from '../local/accounts.ts';
import { checkPort, freePort } from '../local/ports.ts';
import { openStackLog } from '../local/stack-log.ts';
import { acquireLock } from '../local/start-lock.ts';

const root = resolve(import.meta.dirname, '..');
const dataDir = resolve(root, process.env.DATA_DIR || '.data');
const host = process.env.HOST || '127.0.0.1';
/** npm sends a copy of the signal that the terminal has sent. Only a later signal ends this process at once. */
const repeatedSignalMs = 1_000;

try {
  await main();
} catch (error) {
  const { message, code } = error as NodeJS.ErrnoException;
  const known = explainStartError(error);
  if (known) fail(known.replace(`${root}/`, ''));
  fail(code === 'EACCES' ? `${message}. Start as the owner of that file, or set DATA_DIR.` : message);
}

async function main(): Promise<void> {
  process.stdout.on('error', () => undefined); // the services go on when the terminal is closed
  makeTraversableFolder(dataDir);
  const lock = acquireLock(resolve(dataDir, 'lock'));
  if ('heldBy' in lock) {
    fail(
      `Another PromoPulse (process ${lock.heldBy}) uses ${dataDir}. Stop it, or set PORT and DATA_DIR for a second one.`,
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
      () => undefined, // a failed start has stopped what it had started
    );
    await log.close();
    print('Stopped.');
    process.exit(exitCode);
  };
  onStopSignal((signal) => {
    print(`\n${signal}: stopping … Repeat it to end at once.`);
    stopping = stop(0);
  });
  process.on('uncaughtException', (error) => {
    print(`Unexpected ${error.name}. Please report it:\n${framesOf(error)}`);
    stopping ??= stop(1);
  });

  const startedAt = performance.now();
  print('PromoPulse is starting …');
  const options = { env: process.env, dataDir, host, port, logDestination: log };
  // Imported only now: loading the services takes a moment, and the first line should come at once.
  const starting = import('../local/stack.ts').then(({ startStack }) =>
    startStack({ ...options, print: (line) => print(`  ${line}`) }),
  );
  const stack = await starting.catch(async (error: Error) => {
    await (stopping ?? log.close());
    throw error;
  });
  if (stopping) await stopping;
  printAddresses(stack.port, logFile, performance.now() - startedAt);
  if (stack.firstKey !== undefined) printFirstKey(stack.firstKey);
}

function printAddresses(port: number, logFile: string, startMs: number): void {
  const url = `http://${host === '127.0.0.1' || host === '0.0.0.0' ? 'localhost' : host}:${port}`;
  print(`
PromoPulse is up after ${(startMs / 1_000).toFixed(1)} s
  API     ${url}
  docs    ${url}/docs
  health  ${url}/health
  log     ${logFile}

Press Ctrl-C to stop it. The data is kept for the next start.`);
}

/** On the terminal only: the log file keeps its lines. */
function printFirstKey(key: string): void {
  print(`
The first API key, with all scopes. It is shown only now, so keep it:
  ${key}
Send it as: Authorization: Bearer <key>`);
}

async function gatewayPort(text: string): Promise<number> {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    fail(`PORT must be a number from 0 to 65535, not "${text}".`);
  }
  if (port === 0) return freePort();
  const problem = await checkPort(port, host);
  if (!problem) return port;
  if (problem === 'ENOTFOUND' || problem === 'EADDRNOTAVAIL') {
    fail(
      `HOST=${host} is no address of this machine: ${problem}. Leave HOST out, or set it to 0.0.0.0 for all of them.`,
    );
  }
  const reason =
    problem === 'taken' ? `Port ${port} is taken by another program` : `Listening on ${host}:${port} fails: ${problem}`;
  fail(`${reason}. Choose another: PORT=${await freePort(8080)} npm start`);
}

function onStopSignal(stop: (name: string) => void): void {
  let stoppedAt: number | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stoppedAt === undefined) {
        stoppedAt = Date.now();
        stop(signal === 'SIGINT' ? 'Ctrl-C' : signal);
      } else if (Date.now() - stoppedAt > repeatedSignalMs) process.exit(1);
    });
  }
}

/** The lines of the stack trace that name code. The message is left out: it may contain personal data. */
function framesOf({ stack }: Error): string {
  const lines = stack?.split('\n') ?? [];
  return lines.filter((line) => line.startsWith('    at ')).join('\n');
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function fail(reason: string): never {
  process.stderr.write(`PromoPulse cannot start. ${reason}\n`);
  return process.exit(1);
}
