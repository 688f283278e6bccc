// What this service tells the commands of an operator about its projections.
import { projectionSummary } from '@promopulse/shared/contracts/snapshot';
import type { Database } from '@promopulse/shared/database/database';
import { notFound } from '@promopulse/shared/errors';
import { type Route, route } from '@promopulse/shared/http/routes';
import { ownerParams } from '../schemas.ts';
import { summarize } from './digest-store.ts';
import { ownerNames } from './store.ts';

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
