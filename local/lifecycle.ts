// What every run on the mesh of processes stands on: a clock, a folder, and the promise that whatever happens, what
// was started is stopped, by its process id.
import { type Keep, temporaryFolder } from './servers.ts';

export interface Lifecycle {
  /** With the seconds since the start. */
  say(line: string): void;
  print(line: string): void;
  keep: Keep;
  /** For logs and data; gone at the end unless it is kept. */
  folder: string;
  keepFolder(): void;
  /** A signal has come: what was started is being stopped. */
  isStopping(): boolean;
}

/** Ends the process with what `play` returns, with 1 if it throws, with 130 after a signal. */
export async function runLifecycle(play: (stage: Lifecycle) => Promise<number>): Promise<never> {
  process.setMaxListeners(0); // each process that we start is to end with us
  const startedAt = performance.now();
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const say = (line: string): void => {
    print(`${((performance.now() - startedAt) / 1_000).toFixed(1).padStart(6)} s  ${line}`);
  };
  const stops: (() => Promise<unknown>)[] = [];
  let isKept = false;
  let stopping: Promise<void> | undefined;

  function stopEverything(): Promise<void> {
    stopping ??= (async () => {
      for (let stop = stops.pop(); stop; stop = stops.pop()) {
        await stop().catch((error: unknown) => say(`a part did not stop: ${(error as Error).message}`));
      }
    })();
    return stopping;
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stopping) return;
      say(`${signal}: stopping …`);
      void stopEverything().then(() => process.exit(130));
    });
  }
  const keep: Keep = (stop) => void stops.push(stop);
  const stage: Lifecycle = {
    ...{ say, print, keep },
    folder: temporaryFolder(keep, () => isKept),
    keepFolder: () => {
      isKept = true;
    },
    isStopping: () => stopping !== undefined,
  };
  process.exitCode = await play(stage).catch((error: Error) => {
    if (stopping) return 130;
    say(`the run itself failed: ${error.stack}`);
    isKept = true;
    return 1;
  });
  await stopEverything();
  process.exit();
}
