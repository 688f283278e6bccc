// How busy the connections of a database are. Names of pools by OpenTelemetry's semantic conventions for databases.
import type { Database } from '../../database/database.ts';
import { laneFigures } from '../../database/statement-lane.ts';
import type { Labels, Metrics } from '../../telemetry/metrics.ts';

export function measureDatabase(database: Database, metrics: Metrics): void {
  measurePools(database, metrics);
  measurePipelines(database, metrics);
  metrics.gauge(
    {
      name: 'promopulse_lock_waiting_statements',
      help: 'Statements that wait for the lock of a row for longer than a moment, or for their turn to do so.',
    },
    () => database.figures().lockWaiters,
  );
  metrics.gauge(
    {
      name: 'promopulse_lane_waiting_statements',
      help: 'Costly statements that wait for their turn, one at a time runs in each lane.',
    },
    () => laneFigures(database).map(({ lane, waiting }) => [{ lane }, waiting]),
  );
  metrics.counter(
    {
      name: 'promopulse_lane_rejected_statements_total',
      help: 'Costly statements whose turn did not come in time, or that took too long: 503 overloaded.',
    },
    () => laneFigures(database).map(({ lane, rejected }) => [{ lane }, rejected]),
  );
}

function measurePools(database: Database, metrics: Metrics): void {
  const pools = (): [Labels, ReturnType<Database['figures']>['pools'][string]][] =>
    Object.entries(database.figures().pools).map(([pool, figures]) => [
      { db_client_connection_pool_name: pool },
      figures,
    ]);
  metrics.gauge({ name: 'db_client_connections', help: 'Open connections of the pool that are used or idle.' }, () =>
    pools().flatMap(([labels, { used, idle }]): [Labels, number][] => [
      [{ ...labels, db_client_connection_state: 'used' }, used],
      [{ ...labels, db_client_connection_state: 'idle' }, idle],
    ]),
  );
  metrics.gauge({ name: 'db_client_connection_max', help: 'The most connections that the pool opens.' }, () =>
    pools().map(([labels, { max }]) => [labels, max]),
  );
  metrics.gauge(
    { name: 'db_client_connection_pending_requests', help: 'Requests that wait for a connection of the pool.' },
    () => pools().map(([labels, { pending }]) => [labels, pending]),
  );
}

function measurePipelines(database: Database, metrics: Metrics): void {
  const pipelines = () => Object.entries(database.figures().pipelines);
  metrics.gauge(
    { name: 'promopulse_pipeline_connections', help: 'Open connections that single statements share.' },
    () => pipelines().map(([pipeline, { connections }]) => [{ pipeline }, connections]),
  );
  metrics.gauge({ name: 'promopulse_pipeline_statements', help: 'Statements in flight on these connections.' }, () =>
    pipelines().map(([pipeline, { statements }]) => [{ pipeline }, statements]),
  );
  metrics.gauge(
    {
      name: 'promopulse_pipeline_max_statements',
      help: 'The most statements that these connections take; more use the pool.',
    },
    () => pipelines().map(([pipeline, { maxStatements }]) => [{ pipeline }, maxStatements]),
  );
}
