// The stack for the tests of crash points: each service is a process with crash points, and is started again on its
// port after it has died. The gateway runs in the test's own process.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { internalServiceUrls, type ServiceName, services, serviceUrls } from '@promopulse/shared/contracts/services';
import { withClient } from '@promopulse/shared/database/provision';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl, createTestDatabase, deleteTopology, uniquePrefix } from '@promopulse/testing/servers';
import { testKeys } from '@promopulse/testing/service';
import { freePort } from '../../local/ports.ts';
import { startGateway } from '../../services/gateway/src/app.ts';
import type { CrashReport } from '../../tools/chaos/crash-main.ts';
import type { CrashPlan } from '../../tools/chaos/crash-points.ts';
import { type DatabaseState, waitForQuiet } from '../../tools/chaos/database-state.ts';

export interface CrashStack {
  /** Where a client sends its requests. */
  url: string;
  /** @returns the request ids that have reached the point; the list grows */
  arm(service: ServiceName, plan: CrashPlan): Promise<readonly string[]>;
  /** @returns the signal or the exit code that the process ended with; `still running` after 20 s */
  exitOf(service: ServiceName): Promise<unknown>;
  restart(service: ServiceName): Promise<void>;
  /**
   * Waits until every outbox is empty and the projections equal their owners.
   * @throws Error when that takes more than 30 s
   */
  waitForQuiet(): Promise<DatabaseState>;
  /** Runs a statement as the administrator. */
  sql(text: string, values: readonly unknown[]): Promise<void>;
  close(): Promise<void>;
}

interface ServiceProcess {
  child: ChildProcess;
  ended: Promise<unknown>;
}

const main = new URL('../../tools/chaos/crash-main.ts', import.meta.url);
const exitTimeoutMs = 20_000;
const stopTimeoutMs = 15_000;

export async function startCrashStack(): Promise<CrashStack> {
  const database = await createTestDatabase();
  const prefix = uniquePrefix();
  const ports: number[] = [];
  for (const _ of [...services, ...services]) ports.push(await freePort(undefined, ports));
  const urlAt = (index: number): string => `http://127.0.0.1:${ports[index]}`;
  const urlOf = (service: ServiceName): string => urlAt(services.indexOf(service));
  const internalUrlOf = (service: ServiceName): string => urlAt(services.length + services.indexOf(service));
  const urls = { ...serviceUrls(urlOf), ...internalServiceUrls(internalUrlOf) };
  const processes = new Map<ServiceName, ServiceProcess>();

  async function start(service: ServiceName): Promise<void> {
    const env = {
      ...childEnvironment,
      HOST: '127.0.0.1',
      PORT: new URL(urlOf(service)).port,
      INTERNAL_PORT: new URL(internalUrlOf(service)).port,
      LOG_LEVEL: 'silent',
      DATABASE_URL: database.urlFor(service),
      // All requests of a test wait inside their transactions at the same time.
      DATABASE_POOL_MAX: '12',
      AMQP_URL: amqpUrl(),
      AMQP_PREFIX: prefix,
      PII_ENCRYPTION_KEYS: testKeys[0],
      PII_INDEX_KEY: testKeys[2],
      BREAKER_RESET_MS: '100',
      RECONCILE_INTERVAL_MS: '86400000',
      ...urls,
    };
    const child = fork(main, [service], { env, execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    const ended = once(child, 'exit').then(([code, signal]) => (signal ?? code) as unknown);
    processes.set(service, { child, ended });
    await eventually(() => checkReady(service, internalUrlOf(service)), { timeoutMs: 90_000, everyMs: 20 });
  }

  const processOf = (service: ServiceName): ServiceProcess => processes.get(service) as ServiceProcess;
  await Promise.all(services.map(start));
  // The first reconciliation would restore a lost event, and so hide the loss: it must be over before the first test.
  await eventually(() => checkReconciled(internalUrlOf('subscriptions')), { timeoutMs: 30_000 });
  const gateway = await startGateway({
    ...urls,
    HOST: '127.0.0.1',
    PORT: '0',
    LOG_LEVEL: 'silent',
    BREAKER_RESET_MS: '100',
  });

  return {
    url: gateway.url,
    arm: async (service, plan) => {
      const { child } = processOf(service);
      const reached: string[] = [];
      const armed = Promise.withResolvers<void>();
      child.removeAllListeners('message').on('message', (report: CrashReport) => {
        if ('armed' in report) armed.resolve();
        else if (report.reached === plan.point) reached.push(report.requestId);
      });
      child.send(plan);
      await armed.promise;
      return reached;
    },
    exitOf: (service) =>
      Promise.race([processOf(service).ended, sleep(exitTimeoutMs, 'still running', { ref: false })]),
    restart: start,
    waitForQuiet: async () => {
      const source = { rabbit: { url: amqpUrl() }, prefix, databaseUrl: () => database.adminUrl };
      const { databaseState, quietAfterMs } = await waitForQuiet(source, { everyMs: 50, timeoutMs: 30_000 });
      if (quietAfterMs === undefined) throw new Error('an outbox is not empty, or a projection differs from its owner');
      return databaseState;
    },
    sql: (text, values) =>
      withClient(database.adminUrl, (admin) => admin.query(text, [...values])).then(() => undefined),
    close: async () => {
      await gateway.close();
      await Promise.all([...processes.values()].map(stop));
      await database.drop();
      await deleteTopology(prefix);
    },
  };
}

/** @throws Error unless the service is ready */
async function checkReady(service: ServiceName, url: string): Promise<void> {
  const response = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(2_000) });
  await response.arrayBuffer();
  if (response.status !== 200) throw new Error(`${service} answers ${response.status}`);
}

/** @throws Error unless subscriptions has read the snapshots of both owners */
async function checkReconciled(url: string): Promise<void> {
  const { projections } = (await client(url).get('/health')).body;
  if (!projections.users?.reconciled || !projections.promotions?.reconciled) throw new Error('not reconciled yet');
}

async function stop({ child, ended }: ServiceProcess): Promise<void> {
  child.kill('SIGTERM');
  await Promise.race([ended, sleep(stopTimeoutMs, undefined, { ref: false })]);
  child.kill('SIGKILL');
}
