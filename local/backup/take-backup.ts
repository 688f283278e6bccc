// Writes a backup of a running PostgreSQL into a new folder. The promise: the folder exists if and only if the backup is
// complete and on the disk. Only this user can read it.
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Entry, extract } from 'tar-stream';
import { keysFileName } from '../postgres-cluster.ts';
import {
  type BackupContents,
  BackupError,
  type BackupFile,
  contentsFileName,
  digest,
  format,
  manifestFileName,
  settled,
  summing,
  writtenFile,
} from './backup-folder.ts';
import { type BaseBackup, withBaseBackup } from './base-backup.ts';

interface BackupOptions {
  /** The administrator's URL. */
  url: string;
  /** The folder to be made. Its parent exists. */
  target: string;
  keys: BackupContents['keys'];
}

export interface BackupSize {
  files: number;
  bytes: number;
}

/** @throws BackupError when there is something at the target, or its parent is missing */
export function checkTarget(target: string): void {
  if (existsSync(target)) throw new BackupError(`${target} exists already. Name a folder that does not.`);
  if (existsSync(dirname(target))) return;
  throw new BackupError(`The folder ${dirname(target)} does not exist. Create it, or mount its disk, first.`);
}

/** @throws the error of the server or of the disk, after what was written is removed */
export async function takeBackup({ url, target, keys }: BackupOptions): Promise<BackupSize> {
  return await inNewFolder(target, async (partial) => {
    return await withBaseBackup(url, (backup) => writeBackup(backup, partial, keys));
  });
}

/** Fills a folder that gets its name once it is complete and on the disk. @throws the error of `fill`, without a folder */
export async function inNewFolder<Result>(target: string, fill: (folder: string) => Promise<Result>): Promise<Result> {
  const partial = `${target}.partial`;
  rmSync(partial, { recursive: true, force: true }); // of a run that was killed
  mkdirSync(partial, { mode: 0o700 });
  try {
    const result = await fill(partial);
    await flushAll(partial);
    renameSync(partial, target);
    await flush(dirname(target), true);
    return result;
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw error;
  }
}

async function writeBackup(
  { version, archive, manifest }: BaseBackup,
  folder: string,
  keys: BackupContents['keys'],
): Promise<BackupSize> {
  const folders: string[] = [];
  const wal: BackupFile[] = [];
  const size: BackupSize = { files: 0, bytes: 0 };
  const entries = extract();
  const reading = pipeline(archive, entries);
  const writing = (async () => {
    for await (const entry of entries) {
      const path = entry.header.name.replace(/^\.\//, '').replace(/\/$/, '');
      if (entry.header.type === 'directory') {
        mkdirSync(join(folder, path), { recursive: true, mode: 0o700 });
        folders.push(path);
        entry.resume();
      } else if (path === keysFileName) entry.resume();
      else {
        const written = await writeEntry(entry, folder, path);
        if (path.startsWith('pg_wal/')) wal.push(written);
        size.files += 1;
        size.bytes += written.size;
      }
    }
  })();
  await settled([reading, writing]);
  const list = await manifest;
  const contents: BackupContents = {
    ...{ format, kind: 'files' },
    created_at: new Date().toISOString(),
    postgres: version,
    platform: `${process.platform}-${process.arch}`,
    ...{ folders, wal, manifest_sha256: digest(list), keys },
  };
  writeList(join(folder, manifestFileName), list);
  writeList(join(folder, contentsFileName), `${JSON.stringify(contents, null, 2)}\n`);
  return size;
}

async function writeEntry(entry: Entry, folder: string, path: string): Promise<BackupFile> {
  if (entry.header.type !== 'file') throw new BackupError(`${path} is a ${entry.header.type}, which is not backed up.`);
  const sum = summing();
  await pipeline(entry, sum.stream, writtenFile(join(folder, path)));
  return { path, size: sum.size(), sha256: sum.sha256() };
}

/** A new file for its owner alone. */
export function writeList(path: string, content: Buffer | string): void {
  writeFileSync(path, content, { flag: 'wx', mode: 0o600 });
}

/** Many at a time: a file system writes its journal once for all that wait. */
const maxFlushes = 32;

async function flushAll(folder: string): Promise<void> {
  const entries = (await readdir(folder, { recursive: true, withFileTypes: true })).values();
  const flushNext = async (): Promise<void> => {
    for (const entry of entries) await flush(join(entry.parentPath, entry.name), entry.isDirectory());
  };
  await settled(Array.from({ length: maxFlushes }, flushNext));
  await flush(folder, true);
}

/** Windows cannot open a folder, and needs no flush of it. */
async function flush(path: string, isFolder: boolean): Promise<void> {
  if (isFolder && process.platform === 'win32') return;
  const opened = await open(path, isFolder ? 'r' : 'r+');
  try {
    await opened.sync();
  } finally {
    await opened.close();
  }
}
