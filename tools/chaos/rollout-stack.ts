// Two replicas of every part behind a balancer, one PostgreSQL and one RabbitMQ; and the steps by which an orchestrator
// brings out a release: its migrations, then a new replica, and when it is ready, the end of an old one.
import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { hasQueue } from '@promopulse/shared/contracts/queues';
import { internalServiceUrls, type ServiceName, services, serviceUrls } from '@promopulse/shared/contracts/services';
import { provision } from '@promopulse/shared/database/provision';
import { developmentKeys } from '../../local/development-keys.ts';
import type { Lifecycle } from '../../local/lifecycle.ts';
import { portAllocator } from '../../local/ports.ts';
import { type Exit, Replica } from '../../local/replica.ts';
import { startPostgres, startRabbit } from '../../local/servers.ts';
import type { StateSource } from './database-state.ts';
import { openReadyBalancer, type ReadyBalancer, type Target, type Unit } from './ready-balancer.ts';
import { hasPart } from './release-checkout.ts';
import { stopInOrder } from './stack.ts';

export type Part = ServiceName | 'gateway';
const parts: readonly Part[] = [...services, 'gateway'];
const replicasOfPart = 2;
/** SHUTDOWN_DELAY_MS: longer than it takes until no client is sent to the process any more. */
const drainMs = 1_500;
/** From SIGTERM until the balancer sends nothing more: an orchestrator does both at once, and neither waits. */
const noticeMs = 100;
const readyTimeoutMs = 30_000;
const prefix = 'rollout.';
const database = 'promopulse';

/** So that a busy machine is late, and fails no request. */
const generous = { OWNER_TIMEOUT_MS: '10000', UPSTREAM_TIMEOUT_MS: '50000', BREAKER_MIN_CALLS: '1000' };

export interface Release {
  name: string;
  root: string;
  /** Whether a service has its health and its internal routes on a listener of their own (since 0.2.0). */
  hasInternalListener: boolean;
}

interface Running {
  replica: Replica;
  release: Release;
  target: Target;
  internalTarget: Target;
}

export interface RolloutStack extends StateSource {
  /** Of both gateways, for clients. */
  url: string;
  exits: Exit[];
  logFiles: string[];
  /** Connections that no process took. */
  refused(): string[];
  /** Starts the first replicas of a part, if the release has it. */
  start(part: Part, release: Release): Promise<void>;
  /** Replaces each replica of a part by one of the release. What only one of both releases has is started or ended. */
  rollOut(part: Part, release: Release): Promise<void>;
  isRunning(part: Part): boolean;
  /** Runs the migration command of a release for every service. @returns the names that it printed as applied */
  migrate(release: Release, command: 'expand' | 'up'): Promise<string[]>;
}

type Environment = Record<string, string>;

/** Both balancers of each part, by `<part>` and `<part>:internal`. */
type Balancers = ReadonlyMap<string, ReadyBalancer>;

interface Wiring extends Pick<Lifecycle, 'folder'> {
  environmentOf(part: Part): Environment;
  balancerOf(name: string): ReadyBalancer;
  nextPort(): Promise<number>;
  exits: Exit[];
  logFiles: string[];
}

/** @param unit what the balancers distribute */
export async function startRolloutServers({ folder, say, keep }: Lifecycle, unit: Unit): Promise<RolloutStack> {
  const [postgres, rabbit] = await Promise.all([startPostgres(folder, say, keep), startRabbit(folder, say, keep)]);
  const { urls, adminUrl } = await provision(postgres.url(), { database, services });
  const balancers = await openBalancers(unit, keep);
  const balancerOf = (name: string): ReadyBalancer => balancers.get(name) as ReadyBalancer;
  const keys = developmentKeys(join(folder, 'keys.json'), {}) as Environment;
  const environmentOf = (part: Part): Environment => ({
    ...commonEnvironment(balancerOf),
    ...(part !== 'gateway' && { DATABASE_URL: urls[part] ?? '', AMQP_URL: rabbit.url, AMQP_PREFIX: prefix }),
    ...(part === 'users' && keys),
    // 0.1.0 finds the internal routes of owners by these.
    ...(part !== 'gateway' && hasQueue(part) && serviceUrls((service) => balancerOf(`${service}:internal`).url)),
  });
  const wiring: Wiring = { folder, environmentOf, balancerOf, nextPort: portAllocator(), exits: [], logFiles: [] };
  return {
    ...{ url: balancerOf('gateway').url, prefix, rabbit, exits: wiring.exits, logFiles: wiring.logFiles },
    databaseUrl: () => adminUrl,
    refused: () => [...balancers.values()].flatMap(({ name, refused }) => (refused ? [`${name}: ${refused}`] : [])),
    migrate: (release, command) => migrateAll(wiring, release, command),
    ...replicaSteps(wiring, keep),
  };
}

async function openBalancers(unit: Unit, keep: Lifecycle['keep']): Promise<Balancers> {
  const balancers = new Map<string, ReadyBalancer>();
  for (const name of parts.flatMap((part) => [part, `${part}:internal`])) {
    const balancer = await openReadyBalancer(name, unit);
    keep(() => balancer.close());
    balancers.set(name, balancer);
  }
  return balancers;
}

function commonEnvironment(balancerOf: Wiring['balancerOf']): Environment {
  return {
    ...generous,
    HOST: '127.0.0.1',
    MIGRATE: 'off',
    SHUTDOWN_DELAY_MS: String(drainMs),
    ...serviceUrls((service) => balancerOf(service).url),
    ...internalServiceUrls((service) => balancerOf(`${service}:internal`).url),
  };
}

function replicaSteps(wiring: Wiring, keep: Lifecycle['keep']): Pick<RolloutStack, 'start' | 'rollOut' | 'isRunning'> {
  const running = new Map<Part, Running[]>(parts.map((part) => [part, []]));
  keep(() => stopInOrder([...running.values()].flat().map(({ replica }) => replica)));
  const of = (part: Part): Running[] => running.get(part) as Running[];
  const start: RolloutStack['start'] = async (part, release) => {
    if (!hasPart(release, part)) return;
    const started = Array.from({ length: replicasOfPart }, () => startReplica(wiring, part, release));
    of(part).push(...(await Promise.all(started)));
  };
  return {
    start,
    isRunning: (part) => of(part).length > 0,
    rollOut: async (part, release) => {
      if (of(part).length === 0) await start(part, release);
      else
        for (const old of [...of(part)]) {
          if (hasPart(release, part)) of(part).push(await startReplica(wiring, part, release));
          await retire(wiring, old);
          of(part).splice(of(part).indexOf(old), 1);
        }
    },
  };
}

let count = 0;

async function startReplica(wiring: Wiring, part: Part, release: Release): Promise<Running> {
  count += 1;
  const hasInternal = release.hasInternalListener && part !== 'gateway';
  const [port, internalPort] = [await wiring.nextPort(), hasInternal ? await wiring.nextPort() : undefined];
  const logFile = join(wiring.folder, `${part}-${count}-${release.name}.log`);
  wiring.logFiles.push(logFile);
  const env = wiring.environmentOf(part);
  const { exits } = wiring;
  const replica = new Replica({ part, number: count, port, internalPort, root: release.root, env, logFile, exits });
  const healthPort = internalPort ?? port;
  const running = { replica, release, target: { port, healthPort }, internalTarget: { port: healthPort, healthPort } };
  await replica.start();
  const [publicBalancer, internalBalancer] = [wiring.balancerOf(part), wiring.balancerOf(`${part}:internal`)];
  publicBalancer.add(running.target);
  internalBalancer.add(running.internalTarget);
  const deadline = Date.now() + readyTimeoutMs;
  while (!publicBalancer.isReady(running.target) || !internalBalancer.isReady(running.internalTarget)) {
    if (Date.now() > deadline) throw new Error(`${replica.name} is not ready any more`);
    await sleep(50);
  }
  return running;
}

/** A service of 0.1.0 stops at once, so it gets no requests for a while before: its pod would need a preStop. */
async function retire(wiring: Wiring, { replica, release, target, internalTarget }: Running): Promise<void> {
  const leave = (): void => {
    wiring.balancerOf(replica.part).remove(target);
    wiring.balancerOf(`${replica.part}:internal`).remove(internalTarget);
  };
  if (!release.hasInternalListener) {
    leave();
    await sleep(drainMs);
    await replica.stop();
    return;
  }
  const stopped = replica.stop();
  await sleep(noticeMs);
  leave();
  await stopped;
}

async function migrateAll(wiring: Wiring, release: Release, command: string): Promise<string[]> {
  const applied = services.map(async (service) => {
    const env = { ...process.env, ...wiring.environmentOf(service) };
    const script = resolve(release.root, `services/${service}/src/migrate.ts`);
    const { stdout } = await promisify(execFile)(process.execPath, [script, command], { cwd: release.root, env });
    return [...stdout.matchAll(/^applied (\S+)$/gm)].map(([, name]) => `${service} ${name}`);
  });
  return (await Promise.all(applied)).flat();
}
