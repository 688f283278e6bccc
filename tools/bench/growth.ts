// Measures how the cost of a request grows with the data: the CPU time of the service and of PostgreSQL per request, on
// small and on large databases.
import { resetData, type Sizes, subscriptionsPerUser } from './data.ts';
import { targetOf } from './endpoints.ts';
import type { Row, Section } from './report.ts';
import { connections } from './requests.ts';
import { type Case, interleave, type Plan, type Round, ratio } from './rounds.ts';
import { type BenchDatabase, createBenchDatabase, type Servers, type Started, startParts } from './stack.ts';
import { loadHttp, type Target } from './wrk.ts';

const thousand = 1_000;
const million = 1_000_000;

interface Volume {
  /** Part of the case's name, as in "post at 1M". */
  name: string;
  sizes: Sizes;
  listsOnly: boolean;
}

const evenly = (rows: number): Sizes => ({ users: rows, promotions: rows, subscriptions: rows });
/** The others are compared with it. */
const smallVolume: Volume = { name: '10k', sizes: evenly(10 * thousand), listsOnly: false };

function largeVolumes(quick: boolean): Volume[] {
  if (quick) return [{ name: '100k', sizes: evenly(100 * thousand), listsOnly: false }];
  return [
    { name: '1M', sizes: evenly(million), listsOnly: false },
    { name: '10M', sizes: { users: million, promotions: million, subscriptions: 10 * million }, listsOnly: true },
  ];
}

const titles = {
  post: 'POST /subscriptions',
  get: 'GET /promotions/{id}',
  list: 'list of an ordinary user',
  hot: 'first page of the hot promotion',
  deep: 'middle page of the hot promotion',
};
type VolumeRequest = keyof typeof titles;

export async function measureGrowth(servers: Servers, plan: Plan): Promise<Section> {
  const cases: Case[] = [];
  const stops: (() => Promise<unknown>)[] = [];
  const others = largeVolumes(plan.quick);
  for (const volume of [smallVolume, ...others]) {
    plan.say(`filling a database with ${JSON.stringify(volume.sizes)} …`);
    const started = await startVolume(servers, volume);
    cases.push(...started.cases);
    stops.push(started.stop);
  }
  const rounds = await interleave(cases, plan);
  const cost = ({ cpu }: Round): number => (cpu.service ?? 0) + (cpu.postgres ?? 0);
  const rows = others.flatMap(({ name }) =>
    Object.entries(titles).flatMap(([request, title]): Row[] => {
      const large = rounds[`${request} at ${name}`];
      if (!large) return [];
      const value = ratio(large, rounds[`${request} at ${smallVolume.name}`], cost);
      const what = `${title}: CPU at ${name} rows / ${smallVolume.name}`;
      return [{ measure: 'data growth', what, value, goal: { atMost: 1.2 } }];
    }),
  );
  for (const stop of stops) await stop();
  return { name: 'growth', rows, cases: rounds, skipped: [] };
}

async function startVolume(servers: Servers, { name, sizes, listsOnly }: Volume) {
  const database = await createBenchDatabase(servers, `rows${name.toLowerCase()}`, sizes);
  const { promotions, subscriptions } = await startParts(servers, database, ['promotions', 'subscriptions']);
  if (!promotions || !subscriptions) throw new Error('a service did not start');
  const targets = await targetsOf(database, promotions, subscriptions);
  const requests = (Object.keys(titles) as VolumeRequest[]).filter(
    (request) => !listsOnly || (request !== 'post' && request !== 'get'),
  );
  const cases = requests.map((request): Case => {
    const service = request === 'get' ? promotions : subscriptions;
    return {
      name: `${request} at ${name}`,
      components: () => ({ service: service.pid, postgres: servers.postgresPid, rabbitmq: servers.rabbitPid }),
      ...(request === 'post' && { prepare: () => resetData(database.sql, 'subscriptions', sizes) }),
      run: (seconds) => loadHttp(servers.folder, targets[request], { connections, seconds }),
    };
  });
  const stop = () => Promise.all([promotions.stop(), subscriptions.stop()]);
  return { cases, stop };
}

async function targetsOf(
  { sizes }: BenchDatabase,
  promotions: Started,
  subscriptions: Started,
): Promise<Record<VolumeRequest, Target>> {
  const { url } = subscriptions;
  const hot = '/subscriptions?promotion_id=1&limit=20';
  const middle = Math.floor(sizes.subscriptions / subscriptionsPerUser / 2);
  const response = await fetch(`${url}${hot}&offset=${middle}`);
  const { next_cursor } = (await response.json()) as { next_cursor: string };
  return {
    post: targetOf('post', url, sizes),
    get: targetOf('get', promotions.url, sizes),
    list: targetOf('list', url, sizes),
    hot: { url, method: 'GET', path: hot },
    deep: { url, method: 'GET', path: `${hot}&cursor=${next_cursor}` },
  };
}
