// Measures requests to our service, directly and through the gateway. They are compared with pgbench's bare statement,
// and with the same server written by hand on Express and on Fastify.
import { setTimeout as sleep } from 'node:timers/promises';
import { createPersonalData } from '../../services/users/src/personal-data/personal-data.ts';
import { fillUsers, keepFresh, resetData } from './data.ts';
import { type EndpointName, endpoints, targetOf } from './endpoints.ts';
import { type Peer, type PeerName, startPeer } from './peers.ts';
import { runPgbench } from './pgbench.ts';
import { residentMemory } from './processes.ts';
import { profilingArguments } from './profile.ts';
import { findPgbench } from './programs.ts';
import type { Row, Section } from './report.ts';
import { countRoundTrips } from './round-trips.ts';
import { type Case, interleave, type Plan, type Round, ratio, spread, totalCpu } from './rounds.ts';
import { allParts, type BenchDatabase, personalDataKeys, type Servers, type Started, startParts } from './stack.ts';
import { loadHttp } from './wrk.ts';

export const connections = 16;

export interface Requests {
  servers: Servers;
  /** The database of the services and the peers. */
  served: BenchDatabase;
  /** The database of pgbench, without services. */
  bare: BenchDatabase;
  parts: Record<string, Started>;
  peers: Record<PeerName, Peer>;
  /** Resident memory in MB, by service: 2 s after the start. */
  idleMemory: Record<string, number>;
  /** Resident memory in MB, by service: the maximum after any round. */
  loadedMemory: Record<string, number>;
}

/** @param profiles folder for the CPU profiles of the services, if they are wanted */
export async function prepareRequests(
  servers: Servers,
  served: BenchDatabase,
  bare: BenchDatabase,
  profiles: string | undefined,
): Promise<Requests> {
  const { PII_ENCRYPTION_KEYS, PII_INDEX_KEY } = personalDataKeys(servers);
  const personalData = createPersonalData({ PII_ENCRYPTION_KEYS: PII_ENCRYPTION_KEYS.split(','), PII_INDEX_KEY });
  await fillUsers(served.sql, served.sizes.users, personalData);
  const options = profiles ? { script: (part: string) => profilingArguments(profiles, part) } : {};
  const parts = await startParts(servers, served, allParts, options);
  const peers = {
    Express: await startPeer(servers, served, 'Express'),
    Fastify: await startPeer(servers, served, 'Fastify'),
  };
  await sleep(2_000);
  const idleMemory = Object.fromEntries(Object.entries(parts).map(([name, { pid }]) => [name, residentMemory(pid)]));
  return { servers, served, bare, parts, peers, idleMemory, loadedMemory: {} };
}

export function memorySection({ idleMemory, loadedMemory }: Requests): Section {
  const rows = [
    { state: 'idle', values: idleMemory },
    { state: 'under load', values: loadedMemory },
  ].flatMap(({ state, values }) =>
    Object.entries(values).map(([part, value]): Row => {
      const what = `resident memory of ${part}, ${state}`;
      const goal = { atMost: 120 };
      return { measure: 'memory', what, value: { median: value, min: value, max: value }, unit: 'MB', goal };
    }),
  );
  return { name: 'memory', rows, cases: {}, skipped: [] };
}

/** All processes that can work for a request. For a peer's POST our service works too: its relay publishes the event. */
export function componentsOf(
  { servers, parts }: Pick<Requests, 'servers' | 'parts'>,
  more: Record<string, number> = {},
): Record<string, number> {
  const ours = Object.entries(parts).map(([name, { pid }]) => [name, pid]);
  return { ...Object.fromEntries(ours), postgres: servers.postgresPid, rabbitmq: servers.rabbitPid, ...more };
}

interface HttpCase {
  /** Last word of the case's name. */
  client: string;
  url: string;
  components: Record<string, number>;
}

function httpCase(name: EndpointName, requests: Requests, { client, url, components }: HttpCase): Case {
  const { servers, served, parts, loadedMemory } = requests;
  const { writes, service } = endpoints[name];
  return {
    name: `${name} ${client}`,
    components: () => componentsOf(requests, components),
    ...(writes && { prepare: () => resetData(served.sql, service, served.sizes) }),
    run: async (seconds) => {
      const load = await loadHttp(servers.folder, targetOf(name, url, served.sizes), { connections, seconds });
      for (const [part, { pid }] of Object.entries(parts)) {
        loadedMemory[part] = Math.max(loadedMemory[part] ?? 0, residentMemory(pid));
      }
      return load;
    },
  };
}

async function pgbenchCase(name: EndpointName, { servers, bare }: Requests): Promise<Case | undefined> {
  const { writes, service, script } = endpoints[name];
  if (!script) return undefined;
  const made = await script(bare.sizes);
  const url = bare.urls[service] ?? '';
  return {
    name: `${name} pgbench`,
    components: () => ({ postgres: servers.postgresPid }),
    ...(writes && { prepare: () => resetData(bare.sql, service, bare.sizes) }),
    run: async (seconds) => {
      // Without it the statement would find no promotion that it can rely on, and insert nothing.
      const endFreshness = await keepFresh(bare.sql, 'subscriptions');
      return await runPgbench(servers.folder, url, made, { clients: connections, seconds }).finally(endFreshness);
    },
  };
}

async function casesOf(name: EndpointName, requests: Requests): Promise<{ cases: Case[]; skipped: string[] }> {
  const { parts, peers } = requests;
  const { service, goals, script, throughGateway } = endpoints[name];
  const gatewayUrl = parts.gateway?.url ?? '';
  const cases = [httpCase(name, requests, { client: 'direct', url: parts[service]?.url ?? '', components: {} })];
  if (throughGateway) cases.push(httpCase(name, requests, { client: 'gateway', url: gatewayUrl, components: {} }));
  for (const client of Object.keys(goals.peers) as PeerName[]) {
    const { url, pid } = peers[client];
    cases.push(httpCase(name, requests, { client, url, components: { peer: pid } }));
  }
  if (script && !findPgbench()) {
    return { cases, skipped: [`${name}: pgbench is not installed (postgresql-contrib)`] };
  }
  const pgbench = await pgbenchCase(name, requests);
  return { cases: [...(pgbench ? [pgbench] : []), ...cases], skipped: [] };
}

export async function measureRequests(name: EndpointName, requests: Requests, plan: Plan): Promise<Section> {
  const { cases, skipped } = await casesOf(name, requests);
  const rounds = await interleave(cases, plan);
  const { title } = endpoints[name];
  const trips = await countRoundTrips(name, requests);
  if (trips > 1) throw new Error(`${title} takes ${trips} SQL round trips`);
  const value = { median: trips, min: trips, max: trips };
  const rows = [...ratioRows(name, rounds), ...serviceCpuRows(name, rounds)];
  rows.push({ measure: 'SQL round trips', what: `${title}: SQL round trips per request`, value, goal: { atMost: 1 } });
  return { name, rows, cases: rounds, skipped };
}

function ratioRows(name: EndpointName, rounds: Record<string, Round[]>): Row[] {
  const { title, goals } = endpoints[name];
  const of = (client: string): Round[] => rounds[`${name} ${client}`] ?? [];
  const compared = (what: string, client: string, reference: string) => ({
    what: `${title} ${what}`,
    value: ratio(of(client), of(reference)),
    cpuRatio: ratio(of(reference), of(client), totalCpu),
  });
  const measured = Object.entries(goals.peers).filter(([peer]) => of(peer).length > 0);
  const rows = measured.map(([peer, atLeast]): Row => {
    const measure = 'requests beside other servers';
    return { measure, ...compared(`direct / ${peer} + pg`, 'direct', peer), goal: { atLeast } };
  });
  if (of('pgbench').length === 0) return rows;
  const measure = 'requests beside pgbench';
  if (goals.pgbench !== undefined) {
    const goal = { atLeast: goals.pgbench };
    rows.push({ measure, ...compared('direct / pgbench', 'direct', 'pgbench'), goal });
  }
  if (goals.gatewayToPgbench !== undefined) {
    const goal = { atLeast: goals.gatewayToPgbench };
    rows.push({ measure, ...compared('through the gateway / pgbench', 'gateway', 'pgbench'), goal });
  }
  return rows;
}

/** An absolute figure, so it depends on the machine: the gate compares the ratio to the peer instead. */
function serviceCpuRows(name: EndpointName, rounds: Record<string, Round[]>): Row[] {
  const { title, service, goals } = endpoints[name];
  if (goals.serviceCpuMs === undefined) return [];
  const value = spread((rounds[`${name} direct`] ?? []).map(({ cpu }) => (cpu[service] ?? 0) / 1_000));
  const what = `service CPU per ${title}`;
  return [{ measure: 'service CPU', what, value, unit: 'ms', goal: { atMost: goals.serviceCpuMs } }];
}
