// The epoch of a service's database. The promise: two lives of a database never share an epoch, and no id that one of
// them has given is given again. A restore by `pg_restore` or of a copied disk cannot be seen from here: it needs the
// command commands/after-restore.ts.

import { maxId } from '../contracts/ids.ts';
import type { Connection, Database } from '../database/database.ts';
import { callersSequences, type IdSequence } from '../database/ids/id-sequences.ts';
import { withOwnConnection } from '../database/own-connection.ts';
import type { Logger } from '../telemetry/logger.ts';
import { statements } from './statements.ts';

type Queries = Pick<Connection, 'query'>;

interface PublicationRow {
  epoch: string;
  isSameServer: boolean;
  /** Before the first start, the server is not known. */
  isServerKnown: boolean;
}

/** A sequence of ids that callers see, and the last id that counts as given. */
export interface RaisedSequence {
  table: string;
  lastId: number;
}

export interface ChangedEpoch {
  epoch: string;
  raised: RaisedSequence[];
}

/**
 * Compares the server with the one that the epoch began in. On another server it begins a new epoch: another cluster, a
 * point-in-time recovery and a promoted standby may all lack the last changes.
 * @returns the epoch that holds from now on
 * @throws the database's error, which counts as unavailable on a standby
 */
export function ensureEpoch(database: Database, log: Logger): Promise<string> {
  return withOwnConnection(database, (connection) => ensureEpochOn(connection, log));
}

/** `ensureEpoch` on a connection. On each new one, so that no id is given on another server before the ids are raised. */
export async function ensureEpochOn(connection: Queries, log: Logger): Promise<string> {
  const [known] = await connection.query<PublicationRow>(statements.publication);
  if (known?.isSameServer) return known.epoch;
  return await transactionOn(connection, async () => {
    const locked = await lockPublication(connection);
    if (locked.isSameServer) return locked.epoch; // another replica was faster
    if (!locked.isServerKnown) {
      await connection.query(statements.rememberServer);
      return locked.epoch;
    }
    const { epoch, raised } = await beginEpoch(connection, 0);
    log.warn({ previous_epoch: locked.epoch, epoch, raised }, 'the database is on another server: a new epoch begins');
    return epoch;
  });
}

/** Begins a new epoch. The next ids are above `highestKnownId` and above all that the database has given. */
export function changeEpoch(database: Database, highestKnownId: number): Promise<ChangedEpoch> {
  return withOwnConnection(database, (connection) =>
    transactionOn(connection, async () => {
      await lockPublication(connection);
      return await beginEpoch(connection, highestKnownId);
    }),
  );
}

async function lockPublication(connection: Queries): Promise<PublicationRow> {
  await connection.query(statements.createPublication);
  const [row] = await connection.query<PublicationRow>(statements.lockPublication);
  return row as PublicationRow;
}

async function beginEpoch(connection: Queries, highestKnownId: number): Promise<ChangedEpoch> {
  const [row] = await connection.query<{ epoch: string }>(statements.beginEpoch);
  const sequences = await connection.query<IdSequence>(callersSequences, [maxId]);
  const raised: RaisedSequence[] = [];
  for (const { sequence, table, column, limit } of sequences) {
    const values = [sequence, highestKnownId, limit];
    const [result] = await connection.query<{ lastId: number }>(statements.raiseIds(table, column), values);
    raised.push({ table, lastId: Number(result?.lastId) });
  }
  return { epoch: String(row?.epoch), raised };
}

/** When it fails, the connection is to be closed. */
async function transactionOn<Result>(connection: Queries, work: () => Promise<Result>): Promise<Result> {
  await connection.query({ text: 'begin' });
  const result = await work();
  await connection.query({ text: 'commit' });
  return result;
}
