// What every service measures: requests, database, broker, outbox and relay. A service adds its own (`ServiceParts.measure`).
import type { Database } from '../../database/database.ts';
import type { Broker } from '../../messaging/broker.ts';
import type { Relay } from '../../outbox/relay.ts';
import type { HealthMonitor } from '../../telemetry/health-monitor.ts';
import type { Metrics } from '../../telemetry/metrics.ts';
import { measureDatabase } from './database-metrics.ts';
import { measureBuild } from './process-metrics.ts';

interface Measured {
  definition: { name: string; version: string };
  database: Database;
  broker: Pick<Broker, 'isConnected'>;
  relay: Relay;
  monitor: Pick<HealthMonitor, 'deadLetters' | 'usedIds'>;
}

export function measureService(metrics: Metrics, { definition, database, broker, relay, monitor }: Measured): void {
  measureBuild(metrics, definition);
  measureDatabase(database, metrics);
  measureOutbox(metrics, relay);
  metrics.gauge({ name: 'promopulse_broker_up', help: 'Whether the broker is connected: 1 or 0.' }, () =>
    broker.isConnected() ? 1 : 0,
  );
  const deadLetters = metrics.source('dead_letters', async () => {
    const count = await monitor.deadLetters();
    if (count === null) throw new Error('the broker does not say');
    return count;
  });
  metrics.gauge(
    { name: 'promopulse_dead_letters', help: 'Dead letters of the queues that this service consumes.' },
    deadLetters,
  );
  metrics.gauge(
    {
      name: 'promopulse_used_ids_ratio',
      help: 'Part of the ids of a table that is used. Only for tables with 80 % and more.',
    },
    () => monitor.usedIds().map(({ table, percent }) => [{ table }, percent / 100]),
  );
}

function measureOutbox(metrics: Metrics, relay: Relay): void {
  const backlog = metrics.source('outbox', () => relay.backlog());
  metrics.gauge(
    { name: 'promopulse_outbox_waiting_events', help: 'Events that are not published yet, at most 10,000.' },
    () => backlog()?.waiting,
  );
  metrics.gauge(
    { name: 'promopulse_outbox_oldest_age_seconds', help: 'Age of the oldest of these events, 0 when there is none.' },
    () => backlog()?.oldest_seconds,
  );
  metrics.gauge(
    { name: 'promopulse_outbox_parked_events', help: 'Events that no queue takes yet, at most 10,000.' },
    () => backlog()?.parked,
  );
  metrics.gauge(
    {
      name: 'promopulse_relay_leading',
      help: 'Whether the relay of this process leads: 1 or 0. One of all replicas does.',
    },
    () => (relay.figures().isLeading ? 1 : 0),
  );
  metrics.counter(
    { name: 'promopulse_relay_leads_total', help: 'How often the relay of this process has begun to lead.' },
    () => relay.figures().leads,
  );
}
