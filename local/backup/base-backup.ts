// A base backup by PostgreSQL's replication protocol: what pg_basebackup asks, which npm's PostgreSQL does not have. The
// server itself leaves out what must not be copied, checks the checksums of its pages, adds the WAL that makes the copy
// consistent, and writes the manifest (https://www.postgresql.org/docs/current/protocol-replication.html, BASE_BACKUP).
import { PassThrough, type Readable } from 'node:stream';
import { readDatabaseUrl } from '@promopulse/shared/database/connection-settings';
import pg from 'pg';

export interface BaseBackup {
  /** The version of the server, such as `18.4`. */
  version: string;
  /** A tar archive of the data folder, with the WAL in `pg_wal`. It fails when the backup fails. */
  archive: Readable;
  /** The server's backup manifest, once the archive has been read to its end. */
  manifest: Promise<Buffer>;
}

/** One statement whose answer is a COPY stream. node-postgres calls these methods while it reads the answer. */
class CopyOut {
  readonly #text: string;
  readonly #onData: (data: Buffer, socket: pg.Connection['stream']) => void;
  readonly done = Promise.withResolvers<void>();
  #error: Error | undefined;

  constructor(text: string, onData: (data: Buffer, socket: pg.Connection['stream']) => void) {
    this.#text = text;
    this.#onData = onData;
  }

  submit(connection: pg.Connection): void {
    connection.query(this.#text);
  }
  handleCopyData({ chunk }: { chunk: Buffer }, connection: pg.Connection): void {
    this.#onData(Buffer.from(chunk), connection.stream); // a copy: the parser uses its buffer again
  }
  handleError(error: Error): void {
    this.#error = error;
    this.done.reject(error);
  }
  handleReadyForQuery(): void {
    if (!this.#error) this.done.resolve();
  }
  handleRowDescription(): void {}
  handleDataRow(): void {}
  handleCommandComplete(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}
}

/** The first byte of each message (https://www.postgresql.org/docs/current/protocol-replication.html). */
const message = { archive: 'n', manifest: 'm', data: 'd' } as const;

/**
 * Reads a backup on a connection of its own.
 * @param url of a role with the right REPLICATION, whose connections for replication pg_hba.conf allows
 * @param read its result is returned, after the backup has ended without an error
 * @throws the error of `read` or of the server, such as 58P01 when WAL that the backup needs was removed meanwhile
 */
export async function withBaseBackup<Result>(
  url: string,
  read: (backup: BaseBackup) => Promise<Result>,
): Promise<Result> {
  const config = { ...readDatabaseUrl(url), replication: 'true', application_name: 'promopulse backup' };
  const client = new pg.Client(config as pg.ClientConfig);
  client.on('error', () => undefined); // the statement that waits fails as well
  await client.connect();
  try {
    const { rows } = await client.query<{ server_version: string }>('SHOW server_version');
    // Until this connection ends the server keeps the WAL from here on, however long the copy takes.
    await client.query(`CREATE_REPLICATION_SLOT promopulse_backup_${process.pid} TEMPORARY PHYSICAL RESERVE_WAL`);
    return await readBackup(client, rows[0]?.server_version.split(' ')[0] ?? '', read);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function readBackup<Result>(
  client: pg.Client,
  version: string,
  read: (backup: BaseBackup) => Promise<Result>,
): Promise<Result> {
  const archive = new PassThrough();
  archive.on('error', () => undefined); // who reads it gets the error
  const manifest: Buffer[] = [];
  let archives = 0;
  let isManifest = false;
  let isPaused = false;
  const options = `LABEL 'promopulse', CHECKPOINT 'fast', WAL true, MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256'`;
  const copy = new CopyOut(`BASE_BACKUP (${options})`, (data, socket) => {
    const kind = String.fromCharCode(data[0] ?? 0);
    if (kind === message.archive) archives += 1;
    else if (kind === message.manifest) isManifest = true;
    else if (kind === message.data && isManifest) manifest.push(data.subarray(1));
    else if (kind === message.data && archives === 1 && !archive.write(data.subarray(1)) && !isPaused) {
      isPaused = true; // what has been received already still comes
      socket.pause();
      archive.once('drain', () => {
        isPaused = false;
        socket.resume();
      });
    }
  });
  client.query(copy as unknown as pg.Submittable);
  const ended = copy.done.promise.then(() => {
    if (archives !== 1) throw new Error('It has tablespaces outside its data folder, which are not backed up.');
    archive.end();
    return Buffer.concat(manifest);
  });
  ended.catch((error: Error) => archive.destroy(error));
  try {
    const result = await read({ version, archive, manifest: ended });
    await ended;
    return result;
  } catch (error) {
    archive.destroy();
    client.connection.stream.destroy();
    throw error;
  }
}
