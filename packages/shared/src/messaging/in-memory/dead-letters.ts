// Dead letters as files, one per message, so that they survive the process and an operator can use them while no
// process runs. `<name>.json` is a dead letter, `<name>.replay` a requested replay, `<name>.handling` a replay that the
// running process has started. A file is deleted only after its message has been handled. A new file is written under
// a temporary name, synced, and then renamed.
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { sleep } from '../../backoff.ts';
import { type Logger, warnRepeatedly } from '../../telemetry/logger.ts';
import type { DeadLetter, DeadLetterStore } from '../broker.ts';

/** @returns whether the message was accepted */
type ReplayHandler = (deadLetter: DeadLetter) => Promise<boolean>;

const scanMs = 1_000;
const deadLetterShape = z.object({
  id: z.string(),
  queue: z.string(),
  routingKey: z.string(),
  reason: z.string(),
  attempts: z.number(),
  failedAt: z.string(),
  publishedBy: z.string().optional(),
  body: z.string(),
});

/** The running process's access to the files: it adds dead letters and handles replays. */
export class DeadLetterFiles {
  readonly #dir: string;
  /** Names of the replays that are being handled. */
  readonly #handling = new Set<string>();

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Resolves when the file is durable. A second dead letter of the same message replaces the first. */
  async store(deadLetter: DeadLetter): Promise<void> {
    await mkdir(this.#dir, { recursive: true });
    const path = join(this.#dir, fileName(deadLetter));
    await writeSynced(`${path}.tmp`, JSON.stringify(deadLetter, null, 2));
    await rename(`${path}.tmp`, `${path}.json`);
    await syncFolder(this.#dir);
  }

  /** How many dead letters these queues have. */
  async count(queues: ReadonlySet<string>): Promise<number> {
    const names = (await filesIn(this.#dir)).map((file) => /^(.+)\.[\w-]+\.json$/.exec(file)?.[1]);
    const counted = new Set([...queues].map(encodeURIComponent));
    return names.filter((name) => name !== undefined && counted.has(name)).length;
  }

  /**
   * Passes every requested replay to `handle`, and again every second while `handle` resolves false.
   * @returns how to stop
   */
  watch(log: Logger, handle: ReplayHandler): () => Promise<void> {
    const stopping = new AbortController();
    const watching = (async () => {
      while (!stopping.signal.aborted) {
        await this.#scan(log, handle).catch((error: unknown) =>
          warnRepeatedly(log, { err: error }, 'reading the dead letters failed'),
        );
        await sleep(scanMs, stopping.signal);
      }
    })();
    return () => {
      stopping.abort();
      return watching;
    };
  }

  async #scan(log: Logger, handle: ReplayHandler): Promise<void> {
    for (const file of await filesIn(this.#dir)) {
      const [, name, state] = /^(.+)\.(replay|handling)$/.exec(file) ?? [];
      // A second replay of the same message waits until the first has ended.
      if (!name || this.#handling.has(name)) continue;
      this.#handling.add(name);
      const handling = join(this.#dir, `${name}.handling`);
      const renamed = state === 'replay' ? rename(join(this.#dir, file), handling) : Promise.resolve();
      renamed
        .then(() => replay(handling, handle))
        .catch((error: unknown) => log.warn({ err: error, dead_letter: name }, 'replaying a dead letter failed'))
        .finally(() => this.#handling.delete(name));
    }
  }
}

async function replay(path: string, handle: ReplayHandler): Promise<void> {
  const handled = await handle(await readDeadLetter(path));
  if (handled) await unlink(path);
}

/** The operator's access to the files, whether or not a process runs. */
export function openFileDeadLetters(dir: string): DeadLetterStore {
  async function read(ids?: readonly string[]): Promise<{ deadLetter: DeadLetter; path: string }[]> {
    const paths = (await filesIn(dir)).filter((file) => file.endsWith('.json')).map((file) => join(dir, file));
    const all = await Promise.all(paths.map(async (path) => ({ deadLetter: await readDeadLetter(path), path })));
    return all
      .filter(({ deadLetter }) => !ids || ids.includes(deadLetter.id))
      .sort((a, b) => a.deadLetter.failedAt.localeCompare(b.deadLetter.failedAt));
  }

  return {
    list: async () => (await read()).map(({ deadLetter }) => deadLetter),
    replay: async (ids) => {
      const selected = await read(ids);
      for (const { path } of selected) await rename(path, path.replace(/json$/, 'replay'));
      return selected.length;
    },
    discard: async (ids) => {
      const selected = await read(ids);
      for (const { path } of selected) await unlink(path);
      return selected.length;
    },
    close: async () => undefined,
  };
}

/** An id comes from outside. If it is not safe as a file name, its hash is used. */
function fileName({ queue, id }: DeadLetter): string {
  const safeId = /^[\w-]{1,100}$/.test(id) ? id : createHash('sha256').update(id).digest('hex');
  return `${encodeURIComponent(queue)}.${safeId}`;
}

async function filesIn(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function readDeadLetter(path: string): Promise<DeadLetter> {
  try {
    return deadLetterShape.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code) throw cause;
    throw new Error(`${path} is not a dead letter`, { cause });
  }
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
