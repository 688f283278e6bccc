// The mesh for crash points: each service a process that can be told where to fail, started again on its port when it
// has died, behind a gateway in this process.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ServiceName, services, serviceUrls } from '@promopulse/shared/contracts/services';
import { withClient } from '@promopulse/shared/database/provision';
import { client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl, createTestDatabase, deleteTopology, uniquePrefix } from '@promopulse/testing/servers';
import { testKeys } from '@promopulse/testing/service';
import { freePort } from '../../local/ports.ts';
import { startGateway } from '../../services/gateway/src/app.ts';
import type { CrashReport } from '../../tools/chaos/crash-main.ts';
import type { CrashPlan } from '../../tools/chaos/crash-points.ts';
import { type Facts, waitForQuiet } from '../../tools/chaos/database-state.ts';

export interface CrashStack {
  /** Where a client enters. */
  url: string;
  /** @returns who has reached the point so far, by request id */
  arm(service: ServiceName, plan: CrashPlan): Promise<readonly string[]>;
  /** @returns the signal or the code that a process ended with */
  death(service: ServiceName): Promise<unknown>;
  restart(service: ServiceName): Promise<void>;
  /** What there is once every outbox is empty and every projection has caught up; throws when that takes half a minute. */
  quiet(): Promise<Facts>;
  sql(text: string, values: readonly unknown[]): Promise<void>;
  close(): Promise<void>;
}

interface Running {
  child: ChildProcess;
  ended: Promise<unknown>;
}

const main = new URL('../../tools/chaos/crash-main.ts', import.meta.url);

export async function startCrashStack(): Promise<CrashStack> {
  const database = await createTestDatabase();
  const prefix = uniquePrefix();
  const ports: number[] = [];
  for (const _ of services) ports.push(await freePort(undefined, ports));
  const urlOf = (service: ServiceName): string => `http://127.0.0.1:${ports[services.indexOf(service)]}`;
  const urls = serviceUrls(urlOf);
  const processes = new Map<ServiceName, Running>();

  async function start(service: ServiceName): Promise<void> {
    const env = {
      PATH: process.env.PATH,
      HOST: '127.0.0.1',
      PORT: new URL(urlOf(service)).port,
      LOG_LEVEL: 'silent',
      DATABASE_URL: database.urlFor(service),
      // All requests of a test wait within their transactions at once.
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
    await eventually(
      async () => {
        const answer = await fetch(`${urlOf(service)}/health/ready`, { signal: AbortSignal.timeout(2_000) });
        await answer.arrayBuffer();
        if (answer.status !== 200) throw new Error(`${service} answers ${answer.status}`);
      },
      { timeoutMs: 90_000, everyMs: 20 },
    );
  }

  const running = (service: ServiceName): Running => processes.get(service) as Running;
  await Promise.all(services.map(start));
  // The first reading of the owners' snapshots would bring back an event that was lost, and so hide it.
  await eventually(
    async () => {
      const { projections } = (await client(urlOf('subscriptions')).get('/health')).body;
      if (!projections.users?.reconciled || !projections.promotions?.reconciled) throw new Error('not reconciled yet');
    },
    { timeoutMs: 30_000 },
  );
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
      const { child } = running(service);
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
    death: (service) => Promise.race([running(service).ended, sleep(20_000, 'it lives', { ref: false })]),
    restart: start,
    quiet: async () => {
      const place = { rabbit: { url: amqpUrl() }, prefix, databaseUrl: () => database.adminUrl };
      const { facts, quietAfterMs } = await waitForQuiet(place, { everyMs: 50, withinMs: 30_000 });
      if (quietAfterMs === undefined) throw new Error('an outbox or a projection stays behind');
      return facts;
    },
    sql: (text, values) =>
      withClient(database.adminUrl, (admin) => admin.query(text, [...values])).then(() => undefined),
    close: async () => {
      await gateway.close();
      await Promise.all(
        [...processes.values()].map(async ({ child, ended }) => {
          child.kill('SIGTERM');
          await Promise.race([ended, sleep(15_000, undefined, { ref: false })]);
          child.kill('SIGKILL');
        }),
      );
      await database.drop();
      await deleteTopology(prefix);
    },
  };
}
