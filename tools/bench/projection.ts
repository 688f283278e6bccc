// Measures how fast the subscriptions service applies a full queue of events: from the first event that its consumer
// receives until the last one is settled. The consumer, its statements and its acknowledgements are the service's own.
import { openDatabase } from '@promopulse/shared/database/database';
import type { Consumer } from '@promopulse/shared/messaging/broker';
import { connectRabbit } from '@promopulse/shared/messaging/rabbitmq/broker';
import { projectionConsumer } from '@promopulse/shared/projections/events/consumer';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { brokerOptions } from '@promopulse/shared/service/service-broker';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { projections } from '../../services/subscriptions/src/active-check/projections.ts';
import { subscriptions } from '../../services/subscriptions/src/service.ts';
import type { Case } from './rounds.ts';
import type { BenchDatabase, Servers } from './stack.ts';

interface AppliedOptions {
  prefix: string;
  /** How many events a round has: one of each promotion from id 1 on, in version 1. */
  events: number;
  /** Fills the queue with the events of a round. */
  fillQueue(): Promise<void>;
}

/** Half of the events update a row that is there, the other half insert one. */
export async function appliedCase(
  servers: Servers,
  { sql, urls }: BenchDatabase,
  { prefix, events, fillQueue }: AppliedOptions,
): Promise<Case> {
  const log = createLogger({ service: 'bench', level: 'warn' });
  const database = await openDatabase(databaseOptionsOf(subscriptions, urls.subscriptions ?? ''));
  servers.keep(() => database.close());
  const counts = { invalidated: () => undefined };
  /** Consumes in this process until all events are settled. @returns the seconds from the first one on */
  const applyAll = async (): Promise<number> => {
    const broker = connectRabbit({ url: servers.rabbit.url }, brokerOptions(prefix, log));
    try {
      const consumer = projectionConsumer({
        projections,
        database,
        broker,
        log,
        counts,
        onInvalidated: () => undefined,
      });
      const { counted, settled } = countSettled(consumer, events);
      broker.consume(counted);
      return await settled;
    } finally {
      await broker.close();
    }
  };
  return {
    name: 'events applied by the projection',
    components: () => ({ postgres: servers.postgresPid, rabbitmq: servers.rabbitPid }),
    prepare: async () => {
      await sql('truncate subscriptions.cached_promotions');
      await sql(`insert into subscriptions.cached_promotions (promotion_id, status, version)
        select n, 'draft', 0 from generate_series(1, ${events}, 2) as n`);
      await fillQueue();
    },
    run: async () => {
      const seconds = await applyAll();
      const [row] = await sql(
        `select count(*)::int as applied from subscriptions.cached_promotions where status = 'active' and version = 1`,
      );
      const { applied } = row as { applied: number };
      if (applied !== events) throw new Error(`${applied} of ${events} events were applied`);
      return { count: events, perSecond: events / seconds, p50: Number.NaN, p99: Number.NaN };
    },
  };
}

/** Adds to a consumer a measurement of the seconds from its first event until `count` events are settled. */
function countSettled(consumer: Consumer, count: number): { counted: Consumer; settled: Promise<number> } {
  const { promise: settled, resolve } = Promise.withResolvers<number>();
  let startedAt: number | undefined;
  let remaining = count;
  const handle: Consumer['handle'] = async (message) => {
    const isEvent = message.routingKey !== 'relay.heartbeat';
    if (isEvent) startedAt ??= performance.now();
    const settlement = await consumer.handle(message);
    if (isEvent) remaining -= 1;
    if (remaining === 0 && isEvent) resolve((performance.now() - (startedAt ?? 0)) / 1_000);
    return settlement;
  };
  return { counted: { ...consumer, handle }, settled };
}
