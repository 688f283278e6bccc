// Backup and restore of the stack of docker-compose.yml: a dump by the programs of the PostgreSQL image, which have the
// version of its server. The promise: until the dump is restored as a whole, in a database of its own, the present one stays
// as it is; then it is renamed and never deleted.
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { hasQueue } from '@promopulse/shared/contracts/queues';
import { schemaOwners, services } from '@promopulse/shared/contracts/services';
import {
  BackupError,
  type BackupFile,
  contentsFileName,
  format,
  settled,
  summing,
  writtenFile,
} from './backup-folder.ts';
import { type Dump, dumpFileName } from './dump-folder.ts';
import { writeList } from './take-backup.ts';

const [user, database, newDatabase] = ['promopulse', 'promopulse', 'promopulse_restoring'];
const root = resolve(import.meta.dirname, '../..');
const provisionScript = '/docker-entrypoint-initdb.d/10-services.sh';

/** What a command reads and writes; by default nothing, and the last lines of a failure are its reason. */
interface Streams {
  input?: (stdin: Writable) => Promise<unknown>;
  output?: (stdout: Readable) => Promise<unknown>;
}

/** @returns what it has printed, without `output`. @throws BackupError with the last three lines of its error output */
async function docker(args: readonly string[], { input, output }: Streams = {}): Promise<string> {
  const child = spawn('docker', ['compose', ...args], { cwd: root, stdio: ['pipe', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4_000);
  });
  const exit = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const reading = output?.(child.stdout) ?? collect(child.stdout);
  // When the command fails, its exit says why, and not the end of its input.
  const writing = (input?.(child.stdin) ?? Promise.resolve(child.stdin.end())).catch(() => undefined);
  const [code, printed] = await settled([exit, reading, writing]).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT' || cause.syscall !== 'spawn docker') throw cause;
    throw new BackupError('There is no docker on this machine.', { cause });
  });
  if (code === 0) return String(printed ?? '').trim();
  throw new BackupError(
    `docker compose ${args.slice(0, 4).join(' ')} failed: ${errors.trim().split('\n').slice(-3).join(' ')}`,
  );
}

async function collect(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream.setEncoding('utf8')) text += chunk;
  return text;
}

const inPostgres = (args: readonly string[], streams?: Streams): Promise<string> =>
  docker(['exec', '-T', 'postgres', ...args], streams);
const sql = (text: string, name = database): Promise<string> =>
  inPostgres(['psql', '-U', user, '-d', name, '-X', '-v', 'ON_ERROR_STOP=1', '-Atc', text]);

/** Writes the dump and its list into the folder, which is empty. @throws BackupError when the dump is not complete */
export async function writeDump(folder: string): Promise<BackupFile> {
  const sum = summing();
  const target = join(folder, dumpFileName);
  await inPostgres(['pg_dump', '-U', user, '-d', database, '-Fc', '--no-unlogged-table-data'], {
    output: (stdout) => pipeline(stdout, sum.stream, writtenFile(target)),
  });
  // The program reads the list at the head of the dump: what it cannot read is no dump.
  await inPostgres(['pg_restore', '--list'], { input: (stdin) => pipeline(createReadStream(target), stdin) });
  const file: Dump['contents']['file'] = { path: dumpFileName, size: sum.size(), sha256: sum.sha256() };
  const contents: Dump['contents'] = { format, kind: 'dump', created_at: new Date().toISOString(), file };
  writeList(join(folder, contentsFileName), `${JSON.stringify(contents, null, 2)}\n`);
  return file;
}

interface RestoreOptions {
  dump: Dump;
  /** Whether a database with tables is renamed. False: it ends the restore. */
  replace: boolean;
  print: (line: string) => void;
}

/**
 * The dump has been compared with its checksum.
 * @returns the name of the former database; undefined if it had no tables
 */
export async function restoreDump({ dump, replace, print }: RestoreOptions): Promise<string | undefined> {
  await docker(['up', '-d', '--wait', 'postgres']);
  const schemas = schemaOwners.map((name) => `'${name}'`).join(', ');
  const hasData = (await sql(`select exists (select from pg_tables where schemaname in (${schemas}))`)) === 't';
  if (hasData && !replace) {
    throw new BackupError('The database has tables already. With --replace it is renamed, and kept.');
  }
  print('Restoring into a database of its own …');
  await sql(`drop database if exists ${newDatabase} with (force)`, 'postgres');
  await sql(`create database ${newDatabase} template template0`, 'postgres');
  await inPostgres(['pg_restore', '-U', user, '-d', newDatabase, '--exit-on-error'], {
    input: (stdin) => pipeline(createReadStream(join(dump.folder, dumpFileName)), stdin),
  });
  print('Stopping the services …');
  await docker(['stop', 'gateway', ...services]);
  const former = `${database}_replaced_${Date.now()}`;
  await sql(`select pg_terminate_backend(pid) from pg_stat_activity where datname = '${database}'`, 'postgres');
  // Both in one transaction.
  await sql(
    `alter database ${database} rename to ${former}; alter database ${newDatabase} rename to ${database}`,
    'postgres',
  );
  if (!hasData) await sql(`drop database ${former}`, 'postgres');
  await inPostgres(['bash', provisionScript]); // the rights on a database are not part of its dump
  for (const service of services) {
    print(await docker(['run', '--rm', '--no-deps', '-T', service, ...afterRestore(service)]));
  }
  print('Starting …');
  await docker(['up', '-d', '--wait']);
  return hasData ? former : undefined;
}

/** All services are as old as each other, so that none knows ids that another one has lost. */
function afterRestore(service: string): string[] {
  const others = services.filter((name) => name !== service && hasQueue(name));
  const without = others.flatMap((name) => ['--without', name]);
  return ['node', '../../packages/shared/src/commands/after-restore.ts', service, ...without];
}
