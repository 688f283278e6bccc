// Reads an owner into its projection. A complete reading compares the digests of buckets of ids and reads only buckets that
// differ, so it costs little when nothing is wrong, and it continues where an error has stopped it. A delta reads only
// what has changed since the last reading.
import { maxId } from '../../contracts/ids.ts';
import { type BucketDigest, bucketSize, digestsPerPage, type OwnerPosition } from '../../contracts/snapshot.ts';
import type { Database } from '../../database/database.ts';
import { listDigests, readNextBucket } from '../rows/digest-store.ts';
import { type ClockReading, readClock } from '../rows/source-store.ts';
import { applyPage, doubt, listDoubted, markLost, markLostInRange } from '../rows/store.ts';
import type { OwnerClient, PageQuery } from './owner-client.ts';

/** How many buckets are read at once. */
const parallelReads = 4;

/** How far a delta goes back beyond the last reading: longer than a transaction of the owner can last. */
const slackMs = 60_000;

export interface SnapshotOptions {
  database: Database;
  client: OwnerClient;
  stop: AbortSignal;
  /** The life of the owner's database that is expected to answer; null before the first reading. */
  epoch: string | null;
}

export interface SnapshotReading {
  /** Where the owner was when the reading began. */
  read: OwnerPosition;
  /** Number of rows that were inserted or had another content. */
  corrected: number;
  /** Ids that the owner no longer has. */
  lost: number[];
}

/** Thrown when another life of the owner's database answers than expected. Nothing of that answer was applied. */
export class EpochChanged extends Error {
  override readonly name = 'EpochChanged';
  readonly read: OwnerPosition;

  constructor(read: OwnerPosition) {
    super('the database of the owner was replaced');
    this.read = read;
  }
}

/** What one reading has found so far. Every answer must be from the same life of the owner's database. */
class Progress {
  readonly #epoch: string | null;
  #first: OwnerPosition | undefined;
  corrected = 0;
  readonly lost: number[] = [];

  constructor({ epoch }: SnapshotOptions) {
    this.#epoch = epoch;
  }

  check(read: OwnerPosition): void {
    if (read.epoch !== this.#epoch) throw new EpochChanged(read);
    this.#first ??= read;
  }

  result(): SnapshotReading {
    return { read: this.#first as OwnerPosition, corrected: this.corrected, lost: this.lost };
  }
}

/** Compares every row. @throws EpochChanged, or when the owner or the database does not answer */
export async function readCompletely(options: SnapshotOptions): Promise<SnapshotReading> {
  const { database, client, stop } = options;
  const progress = new Progress(options);
  for (let from = 0; ; ) {
    const { read, nextBucket, digests } = await client.digests(from, digestsPerPage, stop);
    progress.check(read);
    const following = from + digestsPerPage;
    const own = await listDigests(database, client.projection, from, following - 1);
    const different = differingBuckets(digests, own);
    while (different.length > 0) {
      await Promise.all(different.splice(0, parallelReads).map((bucket) => readBucket(options, bucket, progress)));
    }
    // Ids may have large gaps, as after a restore: buckets without a row on either side are passed.
    const next = [nextBucket, await readNextBucket(database, client.projection, following)].filter(
      (bucket) => bucket !== null,
    );
    if (next.length === 0) return progress.result();
    from = Math.min(...next);
  }
}

function differingBuckets(theirs: readonly BucketDigest[], own: readonly BucketDigest[]): number[] {
  const text = ({ count, digest }: BucketDigest): string => `${count} ${digest}`;
  const ownByBucket = new Map(own.map((each) => [each.bucket, text(each)]));
  const different = theirs.filter((each) => ownByBucket.get(each.bucket) !== text(each)).map(({ bucket }) => bucket);
  const theirBuckets = new Set(theirs.map(({ bucket }) => bucket));
  return [...different, ...own.map(({ bucket }) => bucket).filter((bucket) => !theirBuckets.has(bucket))];
}

async function readBucket(options: SnapshotOptions, bucket: number, progress: Progress): Promise<void> {
  const { database, client } = options;
  const readAt = await readClock(database);
  const from = bucket * bucketSize;
  const to = Math.min(from + bucketSize - 1, maxId);
  const present = await readPages(options, { after_id: Math.max(0, from - 1), up_to_id: to }, readAt, progress);
  progress.lost.push(...(await markLostInRange(database, client.projection, { from, to, present }, readAt)));
}

/** Reads what has changed since `read_to`, the owner's clock of the last reading. @throws as `readCompletely` */
export async function readChanges(options: SnapshotOptions, readTo: Date): Promise<SnapshotReading> {
  const progress = new Progress(options);
  const changed_since = new Date(readTo.getTime() - slackMs).toISOString();
  await readPages(options, { after_id: 0, changed_since }, await readClock(options.database), progress);
  return progress.result();
}

/** Reads the rows that an event has contradicted, at most `maxIdsOfPage`. @throws as `readCompletely` */
export async function readDoubted(options: SnapshotOptions): Promise<SnapshotReading | undefined> {
  const { database, client } = options;
  const ids = await listDoubted(database, client.projection);
  if (ids.length === 0) return undefined;
  const progress = new Progress(options);
  const readAt = await readClock(database);
  const present = new Set(await readPages(options, { ids }, readAt, progress));
  const missing = ids.filter((id) => !present.has(id));
  progress.lost.push(...(await markLost(database, client.projection, missing, readAt)));
  return progress.result();
}

/** @returns the ids that the owner has */
async function readPages(
  { database, client, stop }: SnapshotOptions,
  query: Omit<PageQuery, 'limit'>,
  readAt: ClockReading,
  progress: Progress,
): Promise<number[]> {
  const present: number[] = [];
  const { projection } = client;
  const { pageSize: limit } = projection;
  let afterId = query.after_id ?? 0;
  for (;;) {
    const page = await client.page({ ...query, after_id: afterId, limit }, stop);
    progress.check(page.read);
    const corrected = page.states.length > 0 ? await applyPage(database, projection, page.states, readAt) : 0;
    progress.corrected += corrected; // in one step: several buckets are read at once
    // A row that this release does not understand exists. Nobody relies on what is held of it.
    for (const id of page.unknownIds) await doubt(database, projection, id);
    for (const { id } of page.states) present.push(id);
    present.push(...page.unknownIds);
    if (page.length < limit) return present;
    afterId = page.lastId;
  }
}
