// The routes of statistics.
import type { Database } from '@promopulse/shared/database/database';
import { isUnknownTimeZone } from '@promopulse/shared/database/sqlstate';
import { invalidInput } from '@promopulse/shared/errors';
import { type Route, route } from '@promopulse/shared/http/routes';
import { presentTime } from '@promopulse/shared/http/schemas';
import {
  reconciliation,
  reconciliationQuery,
  seriesOf,
  statistics,
  statisticsQuery,
  timeZoneRule,
  type WantedSeries,
} from './statistics-schemas.ts';
import { type ReconciliationFigures, readReconciliation, readSeries, type SeriesPoint } from './statistics-store.ts';

const invalidQuery = 'a parameter is missing, unknown, repeated or breaks its rule';

export function statisticsRoutes(database: Database): Route[] {
  return [
    route({
      method: 'get',
      path: '/statistics',
      access: { scope: 'events:read' },
      operationId: 'getStatistics',
      summary: 'What was counted of a promotion',
      description:
        'Counts of events by the time at which they occurred, and of subscriptions by the time of the change: exact, and with everything that was accepted before the request. The range is extended to whole points. A promotion without events, or without existence, has zeros.',
      query: statisticsQuery,
      success: { status: 200, description: 'A series and its totals', schema: statistics },
      errors: { 422: invalidQuery },
      mayBeLarge: (query) => seriesOf(query).expectedPoints > 1_000,
      handle: async ({ query }) => {
        const wanted = seriesOf(query);
        const points = await readSeries(database, wanted.query, wanted.expectedPoints).catch((error: unknown) => {
          throw isUnknownTimeZone(error) ? invalidInput([{ field: 'time_zone', rule: timeZoneRule }]) : error;
        });
        return { status: 200, body: presentSeries(wanted, points) };
      },
    }),
    route({
      method: 'get',
      path: '/statistics/reconciliation',
      access: { scope: 'events:read' },
      operationId: 'getReconciliation',
      summary: 'Whether everything that was received is counted once',
      description:
        'Sums of all time, from one moment. They are made from the receipts, from the counts and from the stored events, and must agree at every moment.',
      query: reconciliationQuery,
      success: { status: 200, description: 'The sums', schema: reconciliation },
      errors: { 422: invalidQuery },
      handle: async ({ query }) => {
        const figures = await readReconciliation(database, query.promotion_id ?? null);
        return { status: 200, body: { ...figures, is_balanced: isBalanced(figures) } };
      },
    }),
  ];
}

function presentSeries({ query, hasUniqueDays }: WantedSeries, points: readonly SeriesPoint[]) {
  const [first, last] = [points[0] as SeriesPoint, points.at(-1) as SeriesPoint];
  const totals = first.totals as NonNullable<SeriesPoint['totals']>;
  const { raw, is_all, first_ever, duplicate, late, rejected } = totals;
  return {
    promotion_id: query.promotion_id,
    from: presentTime(first.at),
    to: presentTime(last.until),
    series: points.map(({ at, raw, first_of_day, duplicate, late, rejected, joined, left, active }) => ({
      ...{ at: presentTime(at), raw, unique: hasUniqueDays ? first_of_day : null },
      ...{ duplicate, late, rejected, joined, left, active },
    })),
    totals: {
      raw,
      unique: query.types.length === 1 && is_all ? first_ever : null,
      ...{ duplicate, late, rejected },
    },
  };
}

function isBalanced(figures: ReconciliationFigures): boolean {
  const { received, accepted, duplicate, late, rejected, counters, rows } = figures;
  return received === accepted + duplicate + late + rejected && accepted === counters && accepted === rows;
}
