// What a backup consists of: the files of a data folder, PostgreSQL's manifest of them, and a file of our own with what
// that manifest does not say. The promise: a folder without the last file is not complete, and a file that differs from its
// checksum is not restored.
import { createHash, type Hash } from 'node:crypto';
import { createReadStream, createWriteStream, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { keysFileName } from '../postgres-cluster.ts';

export const contentsFileName = 'promopulse.backup.json';
export const manifestFileName = 'backup_manifest';
export const format = 1;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
/** Relative and within the folder: a backup may have been changed. */
const path = z.string().refine((text) => posix.normalize(text) === text && !/^(\.\.|\/)|\\/.test(text));
export const file = z.object({ path, size: z.int().min(0), sha256 });

const contentsSchema = z.object({
  format: z.literal(format),
  kind: z.literal('files'),
  created_at: z.iso.datetime(),
  /** Of PostgreSQL, such as `18.4`. */
  postgres: z.string(),
  /** `process.platform` and `process.arch`. */
  platform: z.string(),
  /** The folders, of which some are empty. */
  folders: z.array(path),
  /** The files of pg_wal: PostgreSQL's manifest does not list the WAL itself. */
  wal: z.array(file),
  manifest_sha256: sha256,
  /** SHA-256 of each key that reads the personal data; empty when the keys came from the environment. */
  keys: z.array(z.object({ variable: z.string(), sha256 })),
});

const manifestSchema = z.object({
  Files: z.array(
    z
      .object({ Path: path, Size: z.int(), 'Checksum-Algorithm': z.literal('SHA256'), Checksum: sha256 })
      .transform((listed): BackupFile => ({ path: listed.Path, size: listed.Size, sha256: listed.Checksum })),
  ),
});

export type BackupFile = z.infer<typeof file>;
export type BackupContents = z.infer<typeof contentsSchema>;

export interface Backup {
  folder: string;
  contents: BackupContents;
  /** All files of the data folder. */
  files: BackupFile[];
}

/** Its message is a sentence for the operator. */
export class BackupError extends Error {}

/** @throws BackupError when there is no complete backup, or its lists are damaged */
export function readBackup(folder: string): Backup {
  const contents = parsed(contentsSchema, readList(folder, contentsFileName), folder);
  const manifest = readList(folder, manifestFileName);
  if (digest(manifest) !== contents.manifest_sha256) throw damaged(folder, manifestFileName);
  const listed = parsed(manifestSchema, manifest, folder).Files.filter(({ path }) => path !== keysFileName);
  const paths = new Set(listed.map(({ path }) => path));
  return { folder, contents, files: [...listed, ...contents.wal.filter(({ path }) => !paths.has(path))] };
}

export function readList(folder: string, name: string): Buffer {
  try {
    return readFileSync(join(folder, name));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw cause;
    throw new BackupError(`There is no complete backup in ${folder}: it has no ${name}.`, { cause });
  }
}

export function parsed<Schema extends z.ZodType>(schema: Schema, text: Buffer, folder: string): z.infer<Schema> {
  try {
    return schema.parse(JSON.parse(text.toString()));
  } catch (cause) {
    throw new BackupError(
      `The list of files in ${folder} is damaged, of another release, or of the other kind (--compose or not).`,
      { cause },
    );
  }
}

/** Compares the file with the list while it is read; with `target`, the file is copied there. */
export async function verifyFile(
  { folder }: Pick<Backup, 'folder'>,
  listed: BackupFile,
  target?: string,
): Promise<void> {
  const sum = summing();
  const source = createReadStream(join(folder, listed.path));
  try {
    if (target === undefined) await pipeline(source, sum.stream.resume());
    else await pipeline(source, sum.stream, writtenFile(target));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new BackupError(`The backup in ${folder} is not complete: ${listed.path} is missing.`, { cause: error });
  }
  if (sum.size() !== listed.size || sum.sha256() !== listed.sha256) throw damaged(folder, listed.path);
}

function damaged(folder: string, name: string): BackupError {
  return new BackupError(`The backup in ${folder} is damaged: ${name} differs from its checksum.`);
}

/** A new file for its owner alone. */
export function writtenFile(target: string) {
  return createWriteStream(target, { flags: 'wx', mode: 0o600 });
}

export interface Summing {
  /** Passes everything on. */
  stream: Transform;
  size(): number;
  /** Call it once, after the stream has ended. */
  sha256(): string;
}

export function summing(): Summing {
  const hash: Hash = createHash('sha256');
  let size = 0;
  const stream = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      size += chunk.length;
      hash.update(chunk);
      done(null, chunk);
    },
  });
  return { stream, size: () => size, sha256: () => hash.digest('hex') };
}

export function digest(content: Buffer | string): string {
  return createHash('sha256').update(content).digest('hex');
}

/** Waits for the end of all, also when one fails: none may still write a file that is being removed. @throws the first error */
export async function settled<Results extends readonly unknown[]>(
  works: {
    [Index in keyof Results]: Promise<Results[Index]>;
  },
): Promise<Results> {
  try {
    return (await Promise.all(works)) as unknown as Results;
  } catch (error) {
    await Promise.allSettled(works);
    throw error;
  }
}
