// The frame of a command that starts processes (npm run chaos, soak and bench). The promise: however the run ends
// (it returns, it throws, a signal arrives), everything that was started is stopped, by its process id.
import { type Keep, temporaryFolder } from './servers.ts';

export interface Lifecycle {
  /** Prints a line behind the seconds since the start. */
  say(line: string): void;
  /** Prints a line as it is. */
  print(line: string): void;
  keep: Keep;
  /** Temporary folder for logs and data. It is deleted at the end unless `keepFolder` was called. */
  folder: string;
  keepFolder(): void;
  /** True after a signal: what was started is being stopped. */
  isStopping(): boolean;
}

const exitCodeAfterSignal = 130;

/** Ends the process with the exit code that `run` returns, with 1 when it throws, and with 130 after a signal. */
export async function runLifecycle(run: (lifecycle: Lifecycle) => Promise<number>): Promise<never> {
  process.setMaxListeners(0); // every started process adds a listener that kills it at our exit
  const startedAt = performance.now();
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const say = (line: string): void => {
    print(`${((performance.now() - startedAt) / 1_000).toFixed(1).padStart(6)} s  ${line}`);
  };
  const stops: (() => Promise<unknown>)[] = [];
  let isFolderKept = false;
  let stopping: Promise<void> | undefined;

  function stopEverything(): Promise<void> {
    stopping ??= (async () => {
      for (let stop = stops.pop(); stop; stop = stops.pop()) {
        await stop().catch((error: unknown) => say(`cannot stop: ${(error as Error).message}`));
      }
    })();
    return stopping;
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stopping) return;
      say(`${signal}: stopping …`);
      void stopEverything().then(() => process.exit(exitCodeAfterSignal));
    });
  }
  const keep: Keep = (stop) => void stops.push(stop);
  const lifecycle: Lifecycle = {
    ...{ say, print, keep },
    folder: temporaryFolder(keep, () => isFolderKept),
    keepFolder: () => {
      isFolderKept = true;
    },
    isStopping: () => stopping !== undefined,
  };
  process.exitCode = await run(lifecycle).catch((error: Error) => {
    if (stopping) return exitCodeAfterSignal;
    say(`the run failed: ${error.stack}`);
    isFolderKept = true;
    return 1;
  });
  await stopEverything();
  process.exit();
}
