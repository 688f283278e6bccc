// What this service tells the commands of an operator about its projections.
import { z } from 'zod';
import { projectionSummary } from '../contracts/snapshot.ts';
import type { Database } from '../database/database.ts';
import { notFound } from '../errors.ts';
import { type Route, route } from '../http/routes.ts';
import { summarize } from './rows/digest-store.ts';
import { ownerNames } from './rows/store.ts';

const ownerParams = z.strictObject({ owner: z.string() });

/** For `npm run after-restore`: what this service has seen of another one. */
export function internalProjectionRoutes(database: Database): Route[] {
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
        const owner = ownerNames.find((each) => each === params.owner);
        if (!owner) throw notFound('Projection not found');
        return { status: 200, body: await summarize(database, owner) };
      },
    }),
  ];
}
