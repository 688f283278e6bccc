// The shapes of requests and responses about statistics.
import { engagementTypes } from '@promopulse/shared/contracts/engagement';
import { invalidInput } from '@promopulse/shared/errors';
import { count, moment, presentedTime, required, textId } from '@promopulse/shared/http/schemas';
import { z } from 'zod';
import { granularities, type SeriesQuery } from './statistics-store.ts';

const dayMs = 86_400_000;
/** The longest point of each is not longer: the number of points is at most the range divided by this, and two. */
const shortestMs = { '15m': 900_000, hour: 3_600_000, day: 82_800_000 } as const;
const maxPoints = 10_000;
const defaultDays = 7;
const [firstYear, lastYear] = [2000, 9998];

export const timeZoneRule =
  'must be UTC, or the name of a time zone of the IANA database with a slash, such as Europe/Berlin';

/** The zone that a name stands for; undefined for others. Of abbreviations the server has an opinion of its own. */
function zoneOf(name: string): string | undefined {
  if (!/^([A-Za-z_]+\/|UTC$)/i.test(name) || name.length > 64) return undefined;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}

export const statisticsQuery = z.strictObject({
  promotion_id: textId.meta({ description: 'Of which promotion.', param: { example: 1 } }),
  type: z
    .enum(engagementTypes)
    .optional()
    .meta({ description: 'Of one type. Without it, `raw` is of all types together, and `unique` is null.' }),
  from: moment.optional().meta({
    description: `From this time on. By default ${defaultDays} days before \`to\`.`,
    param: { example: '2026-06-02T00:00:00Z' },
  }),
  to: moment
    .optional()
    .meta({ description: 'Until before this time. By default now.', param: { example: '2026-06-03T00:00:00Z' } }),
  granularity: z
    .enum(granularities)
    .default('day')
    .meta({
      description: `The length of a point. A series has at most ${maxPoints} points.`,
    }),
  time_zone: z
    .string({ error: required(timeZoneRule) })
    .refine((name) => zoneOf(name) !== undefined, timeZoneRule)
    .default('UTC')
    .meta({
      override: { type: 'string', maxLength: 64, default: 'UTC' },
      description:
        'In which a day begins at midnight: a name of the IANA database. A day of it may have 23 or 25 hours.',
    }),
});

export interface WantedSeries {
  query: SeriesQuery;
  expectedPoints: number;
  /** Whether a point is a day of UTC. Only these have unique users and visitors. */
  hasUniqueDays: boolean;
}

/** @throws invalidInput when the range is empty, or has too many points */
export function seriesOf(
  { promotion_id, type, from, to, granularity, time_zone }: z.infer<typeof statisticsQuery>,
  now = new Date(),
): WantedSeries {
  const end = to ?? now;
  const start = from ?? new Date(end.getTime() - defaultDays * dayMs);
  const years = [start, end].map((time) => time.getUTCFullYear());
  if (years.some((year) => year < firstYear || year > lastYear)) {
    const field = (years[0] as number) < firstYear || (years[0] as number) > lastYear ? 'from' : 'to';
    throw invalidInput([{ field, rule: `must be in the years ${firstYear} to ${lastYear}` }]);
  }
  if (start >= end) throw invalidInput([{ field: 'to', rule: 'must be after from' }]);
  const expectedPoints = Math.ceil((end.getTime() - start.getTime()) / shortestMs[granularity]);
  if (expectedPoints > maxPoints) {
    throw invalidInput([{ field: 'granularity', rule: `must divide the range into at most ${maxPoints} points` }]);
  }
  return {
    query: {
      ...{ promotion_id, granularity, timeZone: time_zone, from: start, to: end },
      types: type === undefined ? [...engagementTypes, ''] : [type],
    },
    expectedPoints,
    hasUniqueDays: type !== undefined && granularity === 'day' && zoneOf(time_zone) === 'UTC',
  };
}

const noReceipts = { duplicate: 0, late: 0, rejected: 0 };
const examplePoint = {
  ...{ at: '2026-06-02T00:00:00Z', raw: 0, unique: null, ...noReceipts, joined: 0, left: 0, active: 0 },
};

/** Receipts that are counted by when they were given, in a point or in the whole range. */
const receiptsIn = (where: string) => ({
  duplicate: count.meta({ description: `Receipts \`duplicate\` that were given in ${where}.` }),
  late: count.meta({ description: `Receipts \`late\` that were given in ${where}.` }),
  rejected: count.meta({ description: `Receipts \`rejected\` that were given in ${where}, of this promotion.` }),
});

const point = z.object({
  at: presentedTime.meta({ description: 'When it begins, in UTC.' }),
  raw: count.meta({ description: 'The events that occurred in it.' }),
  unique: count.nullable().meta({
    description: 'The users and visitors of these, for one type and days of UTC; else null: sums of them mean nothing.',
  }),
  ...receiptsIn('it'),
  joined: count.meta({ description: 'How often users have subscribed, or come back.' }),
  left: count.meta({ description: 'How often users have left.' }),
  active: count.meta({ description: 'The active subscriptions at its end.' }),
});

export const statistics = z
  .object({
    promotion_id: count.meta({ description: 'The id of the promotion.' }),
    from: presentedTime.meta({ description: 'When the first point begins.' }),
    to: presentedTime.meta({ description: 'When the last point ends.' }),
    series: z
      .array(point)
      .min(1)
      .max(maxPoints + 2)
      .meta({ description: 'Every point of the range, in order, also those without an event.' }),
    totals: z
      .object({
        raw: count.meta({ description: 'The events that occurred in the range.' }),
        unique: count.nullable().meta({
          description: 'The users and visitors of these, for one type and a range with all of its events; else null.',
        }),
        ...receiptsIn('the range'),
      })
      .meta({ description: 'Of the whole range.' }),
  })
  .meta({
    id: 'Statistics',
    description: 'What was counted of a promotion.',
    examples: [
      {
        promotion_id: 1,
        from: '2026-06-02T00:00:00Z',
        to: '2026-06-03T00:00:00Z',
        series: [examplePoint],
        totals: { raw: 0, unique: null, ...noReceipts },
      },
    ],
  });

export const reconciliationQuery = z.strictObject({
  promotion_id: textId.optional().meta({
    description: 'Of one promotion. Without it: of all, with the receipts of no known promotion.',
  }),
});

export const reconciliation = z
  .object({
    received: count.meta({ description: 'Items that have got a receipt other than `retry`.' }),
    accepted: count.meta({ description: 'Receipts `accepted`.' }),
    duplicate: count.meta({ description: 'Receipts `duplicate`.' }),
    late: count.meta({ description: 'Receipts `late`.' }),
    rejected: count.meta({ description: 'Receipts `rejected`.' }),
    counters: count.meta({ description: 'The sum of all counts of which statistics are made.' }),
    rows: count.meta({ description: 'The stored events, with those that were removed after their retention.' }),
    rows_removed: count.meta({ description: 'The events that were removed.' }),
    is_balanced: z.boolean().meta({
      description: 'Whether received = accepted + duplicate + late + rejected, and accepted = counters = rows.',
    }),
  })
  .meta({
    id: 'Reconciliation',
    description: 'The sums of everything that was received, at one moment.',
    examples: [
      {
        ...{ received: 1, accepted: 0, duplicate: 0, late: 1, rejected: 0 },
        ...{ counters: 0, rows: 0, rows_removed: 0, is_balanced: true },
      },
    ],
  });
