// How a service reads the state of another one, in its internal routes (decision 0015). The owner's answer is the
// authority: it outranks every event.
import { z } from 'zod';
import { utcTime } from './envelope.ts';

/** Which database answers, and how far it is. All members are read in the statement that reads the rows. */
export const ownerPosition = z.object({
  /** Changes when the owner's database is restored or replaced. */
  epoch: z.string(),
  /** The last id that the outbox has given. */
  position: z.int().nonnegative(),
  /** The clock of the owner's database. Whatever was committed a minute or more before it is in the answer. */
  read_at: utcTime,
});

export type OwnerPosition = z.infer<typeof ownerPosition>;

/** Rows in the order of their ids (`promotionSnapshot`, `subscriptionSnapshot`, `userState`). Each row is parsed by its reader, so that one unknown row does not spoil a page. */
export const snapshotPage = ownerPosition.extend({ items: z.array(z.unknown()) });

/** Maximum number of single ids that a page is asked for. */
export const maxIdsOfPage = 500;

/** Number of ids in a bucket: bucket 0 has the ids 0 to 9,999. */
export const bucketSize = 10_000;

/** What one bucket holds, as `digestSql` computes it. A bucket without rows is left out. */
export const bucketDigest = z.object({
  bucket: z.int().nonnegative(),
  count: z.int().positive(),
  digest: z.string(),
});

export type BucketDigest = z.infer<typeof bucketDigest>;

/** The digests of consecutive buckets. `last_bucket` is the highest that has a row, -1 when there is none. */
export const snapshotDigests = ownerPosition.extend({
  last_bucket: z.int().min(-1),
  /** The first bucket beyond these that has a row; null when there is none. An owner of release 0.1.0 does not say. */
  next_bucket: z.int().nonnegative().nullable().optional(),
  items: z.array(bucketDigest),
});

/** Number of buckets in one answer of digests, and its maximum: 200,000 rows are read in a fraction of a statement's 2 s. */
export const digestsPerPage = 20;

/** What a consumer has seen of an owner: the answer of its `/internal/projections/<owner>`. */
export const projectionSummary = z.object({
  /** The highest id that it has seen; 0 when it has seen none. */
  highest_id: z.int().nonnegative(),
  /** Number of rows that the owner has lost. */
  lost: z.int().nonnegative(),
  subscriptions_of_lost: z.int().nonnegative(),
});

export type ProjectionSummary = z.infer<typeof projectionSummary>;
