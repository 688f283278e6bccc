// The internal routes by which consumers read what an owner has: pages of rows, and digests that tell which pages differ
// (docs/decisions/0015-epochs-and-sequences.md).
import { z } from 'zod';
import { maxId } from '../contracts/ids.ts';
import { bucketSize, digestsPerPage, maxIdsOfPage, snapshotDigests, snapshotPage } from '../contracts/snapshot.ts';
import type { Database } from '../database/database.ts';
import { type Route, route } from '../http/routes.ts';
import { moment, required, textId, textInteger } from '../http/schemas.ts';
import { readDigests, readPage, type SnapshotSource } from './owner-snapshot.ts';

interface OwnerRoutes extends SnapshotSource {
  /** Also the last part of the path: `users`. */
  owner: string;
  /** Maximum number of rows in a page. */
  maxLimit: number;
}

const idsRule = `must be 1 to ${maxIdsOfPage} ids, separated by commas`;

const ids = z
  .string({ error: required(idsRule) })
  .regex(/^[1-9]\d{0,15}(,[1-9]\d{0,15})*$/, idsRule)
  .transform((value) => value.split(',').map(Number))
  .refine((values) => values.length <= maxIdsOfPage && values.every((value) => value <= maxId), idsRule);

const maxBucket = Math.floor(maxId / bucketSize);

const digestsQuery = z.strictObject({
  from_bucket: textInteger(0, maxBucket),
  limit: textInteger(1, digestsPerPage),
});

const errors = {
  422: 'a parameter is missing, unknown or breaks its rule',
  503: 'the database is unavailable, or has moved to another server',
};

const pageQuery = (maxLimit: number) =>
  z.strictObject({
    after_id: textInteger(0, maxId),
    limit: textInteger(1, maxLimit),
    /** The last id of the page, at most. */
    up_to_id: textId.optional(),
    /** Only rows that were changed later. */
    changed_since: moment.optional(),
    /** Only these rows. */
    ids: ids.optional(),
  });

/** To be listed before the route of a single row, whose `{id}` would match `digests`. */
export function ownerRoutes(database: Database, { owner, maxLimit, ...source }: OwnerRoutes): Route[] {
  const query = pageQuery(maxLimit);
  return [
    route({
      method: 'get',
      access: 'internal',
      path: `/internal/${owner}/digests`,
      operationId: `${owner}Digests`,
      summary: 'What each bucket of ids holds',
      query: digestsQuery,
      success: { status: 200, description: 'Consecutive buckets', schema: snapshotDigests },
      errors,
      handle: async ({ query }) => ({ status: 200, body: await readDigests(database, source, query) }),
    }),
    route({
      method: 'get',
      access: 'internal',
      path: `/internal/${owner}`,
      operationId: `${owner}Snapshot`,
      summary: 'Rows by ascending id',
      query: source.hasChanges === false ? query.omit({ changed_since: true }) : query,
      success: {
        status: 200,
        description: `Rows with ${Object.keys(source.contract.shape).join(', ')}`,
        schema: snapshotPage,
      },
      errors,
      handle: async ({ query }) => ({ status: 200, body: await readPage(database, source, query) }),
    }),
  ];
}
