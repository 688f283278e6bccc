// What is counted of the projections, for the metrics. Without METRICS_PORT it costs some additions.
import type { ServiceName } from '../contracts/services.ts';
import type { Database } from '../database/database.ts';
import type { Labels, Metrics } from '../telemetry/metrics.ts';
import type { AnyProjections } from './definition.ts';
import type { OwnerClient } from './reading/owner-client.ts';
import { type SourceState, sourceStates } from './rows/source-store.ts';

/** Of one reading of an owner. */
interface ReadingFigures {
  kind: 'changes' | 'complete';
  seconds: number;
  /** Rows that were not as the owner has them. 0 when the projection was filled for the first time. */
  corrected: number;
  /** Rows that the owner has no more. */
  lost: number;
}

/** Why a projection is invalidated, as in the log. */
const invalidationReasons = [
  'session',
  'lead',
  'gap',
  'epoch',
  'owner set back',
  'projection set back',
  'clock ahead',
  'dead letter',
] as const;
export type InvalidationReason = (typeof invalidationReasons)[number];

/** Counts since the start of the process. */
export class ProjectionCounts {
  /** Each is there from the start: Prometheus does not see the increase of a series that begins with 1. */
  readonly #invalidations = new Map<string, { labels: Labels; count: number }>();
  readonly #rows = new Map<ServiceName, { corrected: number; lost: number }>();
  #onRead: ((owner: ServiceName, kind: string, seconds: number) => void) | undefined;

  constructor({ all }: AnyProjections) {
    for (const { owner } of all) {
      this.#rows.set(owner, { corrected: 0, lost: 0 });
      for (const reason of invalidationReasons) {
        this.#invalidations.set(`${owner} ${reason}`, { labels: { owner, reason }, count: 0 });
      }
    }
  }

  invalidated(owner: ServiceName, reason: InvalidationReason): void {
    const counted = this.#invalidations.get(`${owner} ${reason}`);
    if (counted) counted.count += 1;
  }

  /** Of a reading that has ended. */
  read(owner: ServiceName, { kind, seconds, corrected, lost }: ReadingFigures): void {
    this.corrected(owner, { corrected, lost });
    this.#onRead?.(owner, kind, seconds);
  }

  corrected(owner: ServiceName, { corrected, lost }: Pick<ReadingFigures, 'corrected' | 'lost'>): void {
    const rows = this.#rows.get(owner);
    if (!rows) return;
    rows.corrected += corrected;
    rows.lost += lost;
  }

  measure(metrics: Metrics): void {
    metrics.counter(
      {
        name: 'promopulse_projection_invalidations_total',
        help: 'How often this process has invalidated a projection, by owner and reason.',
      },
      () => [...this.#invalidations.values()].map(({ labels, count }) => [labels, count]),
    );
    const rows = (read: (counted: { corrected: number; lost: number }) => number) => () =>
      [...this.#rows].map(([owner, counted]) => [{ owner }, read(counted)] as const);
    metrics.counter(
      {
        name: 'promopulse_projection_corrected_rows_total',
        help: 'Rows that a repeated reading of the owner has corrected: their event was late, lost or forged.',
      },
      rows(({ corrected }) => corrected),
    );
    metrics.counter(
      {
        name: 'promopulse_projection_lost_rows_total',
        help: 'Rows of which a reading has found that the owner has them no more.',
      },
      rows(({ lost }) => lost),
    );
    const observe = metrics.histogram({
      name: 'promopulse_projection_reading_duration_seconds',
      help: 'Time of one reading of an owner that has ended, in seconds. kind: its changes only, or complete.',
      labels: ['owner', 'kind'],
      buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
    });
    this.#onRead = (owner, kind, seconds) => observe([owner, kind], seconds);
  }
}

interface Measured {
  database: Database;
  clients: readonly OwnerClient[];
  counts: ProjectionCounts;
}

export function measureProjections(metrics: Metrics, { database, clients, counts }: Measured): void {
  counts.measure(metrics);
  measureReliance(metrics, database);
  metrics.gauge(
    {
      name: 'promopulse_owner_breaker_open',
      help: 'Whether the owner is not asked for now, because it fails: 1 or 0.',
    },
    () => clients.map(({ projection: { owner }, isBreakerOpen }) => [{ owner }, isBreakerOpen ? 1 : 0]),
  );
}

/** How far each projection can be relied on, as the database knows it: the same for all replicas. */
function measureReliance(metrics: Metrics, database: Database): void {
  const states = metrics.source('projections', () => sourceStates(database));
  const gauge = (name: string, help: string, read: (state: SourceState) => number | null): void =>
    metrics.gauge({ name, help }, () =>
      [...(states() ?? [])].flatMap(([owner, state]) => {
        const value = read(state);
        return value === null ? [] : [[{ owner }, value] as const];
      }),
    );
  gauge(
    'promopulse_projection_watermark_age_seconds',
    'Age of the last moment up to which the projection of this owner is complete, in seconds.',
    ({ behind_seconds }) => behind_seconds,
  );
  gauge(
    'promopulse_projection_reconciled',
    'Whether the projection is relied on: 1, or 0 from an invalidation until its owner was read.',
    ({ reconciled }) => (reconciled ? 1 : 0),
  );
  gauge(
    'promopulse_projection_compared_age_seconds',
    'Time since every row was last compared with the owner, in seconds.',
    ({ compared_seconds_ago }) => compared_seconds_ago,
  );
}
