// Dead letters as files, one each, so that they outlive the process and an operator can work on them while nothing
// runs. `<name>.json` is set aside, `<name>.replay` is asked for, `<name>.handling` is in the running mesh's hands;
// only what has been handled is unlinked. A letter is written under another name, synced, then renamed into place.
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { sleep } from '../../backoff.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { DeadLetter, DeadLetterStore } from '../broker.ts';

export interface DeadLetterFiles {
  /** Durable once resolved. The same message set aside again replaces its letter. */
  store(letter: DeadLetter): Promise<void>;
  /** Hands every letter asked for to `handle` until stopped; one it resolves false for is kept and tried again. */
  watch(log: Logger, handle: (letter: DeadLetter) => Promise<boolean>): () => Promise<void>;
}

const scanMs = 1_000;
const letterShape = z.object({
  id: z.string(),
  queue: z.string(),
  routingKey: z.string(),
  reason: z.string(),
  attempts: z.number(),
  failedAt: z.string(),
  body: z.string(),
});

export function openDeadLetterFiles(dir: string): DeadLetterFiles {
  const handling = new Set<string>();

  async function scan(log: Logger, handle: (letter: DeadLetter) => Promise<boolean>): Promise<void> {
    for (const file of await filesIn(dir)) {
      const [, name, state] = /^(.+)\.(replay|handling)$/.exec(file) ?? [];
      // One in hand already: a second request for the same letter waits for the first to end.
      if (!name || handling.has(name)) continue;
      handling.add(name);
      const path = join(dir, `${name}.handling`);
      if (state === 'replay') await rename(join(dir, file), path);
      replay(path, handle)
        .catch((error: unknown) => log.warn({ err: error, letter: name }, 'a dead letter could not be replayed'))
        .finally(() => handling.delete(name));
    }
  }

  return {
    store: async (letter) => {
      await mkdir(dir, { recursive: true });
      const path = join(dir, fileName(letter));
      await writeSynced(`${path}.tmp`, JSON.stringify(letter, null, 2));
      await rename(`${path}.tmp`, `${path}.json`);
      await syncFolder(dir);
    },
    watch: (log, handle) => {
      const stopping = new AbortController();
      const watching = (async () => {
        while (!stopping.signal.aborted) {
          await scan(log, handle).catch((error: unknown) => log.warn({ err: error }, 'dead letters cannot be read'));
          await sleep(scanMs, stopping.signal);
        }
      })();
      return () => {
        stopping.abort();
        return watching;
      };
    },
  };
}

async function replay(path: string, handle: (letter: DeadLetter) => Promise<boolean>): Promise<void> {
  const handled = await handle(await readLetter(path));
  if (handled) await unlink(path);
}

/** The operator's side, with or without a running mesh. */
export function openFileDeadLetters(dir: string): DeadLetterStore {
  async function read(ids?: readonly string[]): Promise<{ letter: DeadLetter; path: string }[]> {
    const paths = (await filesIn(dir)).filter((file) => file.endsWith('.json')).map((file) => join(dir, file));
    const letters = await Promise.all(paths.map(async (path) => ({ letter: await readLetter(path), path })));
    return letters
      .filter(({ letter }) => !ids || ids.includes(letter.id))
      .sort((a, b) => a.letter.failedAt.localeCompare(b.letter.failedAt));
  }

  return {
    list: async () => (await read()).map(({ letter }) => letter),
    replay: async (ids) => {
      const chosen = await read(ids);
      for (const { path } of chosen) await rename(path, path.replace(/json$/, 'replay'));
      return chosen.length;
    },
    discard: async (ids) => {
      const chosen = await read(ids);
      for (const { path } of chosen) await unlink(path);
      return chosen.length;
    },
    close: async () => undefined,
  };
}

/** Ids come from outside: only a harmless one may name a file. */
function fileName({ queue, id }: DeadLetter): string {
  const harmless = /^[\w-]{1,100}$/.test(id) ? id : createHash('sha256').update(id).digest('hex');
  return `${encodeURIComponent(queue)}.${harmless}`;
}

async function filesIn(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function readLetter(path: string): Promise<DeadLetter> {
  try {
    return letterShape.parse(JSON.parse(await readFile(path, 'utf8')));
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
