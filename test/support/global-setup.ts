// Runs once before all test files: starts PostgreSQL and RabbitMQ and hands their addresses to the workers through
// the environment. TEST_BACKENDS=none starts nothing, for tests of pure rules; TEST_CONTAINERS=auto|never|require
// says whether Docker is used.
import { startBackends } from './backends.ts';

const stops: (() => Promise<void>)[] = [];

/** For global-teardown.ts, which runs in the same process with modules of its own. */
export interface TestRun {
  stopBackends?: () => Promise<void>;
}

export default async function setup(): Promise<void> {
  if (process.env.TEST_BACKENDS === 'none') return;
  let ending = false;
  const stopAll = async (): Promise<void> => {
    for (const result of await Promise.allSettled(stops.splice(0).map((stop) => stop()))) {
      if (result.status === 'rejected') print(`did not stop: ${String(result.reason)}`);
    }
  };
  const starting = startBackends(print, (stop) => {
    stops.push(stop);
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, async () => {
      if (ending) process.exit(1);
      ending = true;
      print(`${signal}: stopping what was started; once more ends at once`);
      await starting.catch(() => undefined); // what is half started cannot be stopped before it is started
      await stopAll();
      process.exit(1);
    });
  }
  try {
    Object.assign(process.env, await starting);
    if (ending) await new Promise(() => undefined); // no test begins while the handler above stops everything
  } catch (error) {
    await stopAll();
    throw error;
  }
  (globalThis as TestRun).stopBackends = stopAll;
}

function print(line: string): void {
  process.stderr.write(`backends: ${line}\n`);
}
