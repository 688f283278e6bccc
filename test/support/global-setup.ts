// Runs once before all test files: starts PostgreSQL and RabbitMQ, and passes their addresses to the workers in
// environment variables. TEST_BACKENDS=none starts nothing, for tests of pure rules. TEST_CONTAINERS=auto|never|require
// selects whether Docker is used.
import { resolve } from 'node:path';
import { startBackends } from './backends.ts';

const stops: (() => Promise<void>)[] = [];

/** Read by global-teardown.ts, which runs in the same process but with its own instances of modules. */
export interface TestRun {
  stopBackends?: () => Promise<void>;
}

/** Each process that a test starts compiles the same modules. */
const compileCache = resolve(import.meta.dirname, '../../node_modules/.cache/compiled');

export default async function setup(): Promise<void> {
  process.env.NODE_COMPILE_CACHE ??= compileCache;
  if (process.env.TEST_BACKENDS === 'none') return;
  let isEnding = false;
  const stopAll = async (): Promise<void> => {
    for (const result of await Promise.allSettled(stops.splice(0).map((stop) => stop()))) {
      if (result.status === 'rejected') print(`a backend did not stop: ${String(result.reason)}`);
    }
  };
  const starting = startBackends(print, (stop) => {
    stops.push(stop);
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, async () => {
      if (isEnding) process.exit(1);
      isEnding = true;
      print(`${signal}: stopping the backends … Repeat it to end at once.`);
      await starting.catch(() => undefined); // a backend can only be stopped after its start
      await stopAll();
      process.exit(1);
    });
  }
  try {
    Object.assign(process.env, await starting);
    if (isEnding) await new Promise(() => undefined); // no test starts while the signal handler stops the backends
  } catch (error) {
    await stopAll();
    throw error;
  }
  (globalThis as TestRun).stopBackends = stopAll;
}

function print(line: string): void {
  process.stderr.write(`backends: ${line}\n`);
}
