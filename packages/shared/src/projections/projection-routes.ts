// What this service tells the commands of an operator about its projections.
import { z } from 'zod';
import { projectionSummary } from '../contracts/snapshot.ts';
import type { Database } from '../database/database.ts';
import { notFound } from '../errors.ts';
import { type Route, route } from '../http/routes.ts';
import type { AnyProjections } from './definition.ts';
import { summarize } from './rows/digest-store.ts';

const ownerParams = z.strictObject({ owner: z.string() });

/** For `npm run after-restore`: what this service has seen of another one. */
export function internalProjectionRoutes(database: Database, { all }: AnyProjections): Route[] {
  return [
    route({
      method: 'get',
      path: '/internal/projections/{owner}',
      access: 'internal',
      operationId: 'getProjectionSummary',
      summary: 'The highest id seen of an owner, and what it has lost',
      params: ownerParams,
      success: { status: 200, description: 'The summary', schema: projectionSummary },
      errors: { 404: 'this service keeps nothing of that owner' },
      handle: async ({ params }) => {
        const projection = all.find(({ owner }) => owner === params.owner);
        if (!projection) throw notFound('Projection not found');
        return { status: 200, body: await summarize(database, projection) };
      },
    }),
  ];
}
