// Row 7: what the same request costs where there is little data and where there is much: CPU time of the service and
// of PostgreSQL per request.
import { perUser, type Sizes, takeBack } from './data.ts';
import type { Row, Section } from './report.ts';
import { connections, target } from './requests.ts';
import { type Case, interleave, type Plan, type Round, ratio } from './rounds.ts';
import { createPlace, type Servers, startParts } from './stack.ts';
import { loadHttp, type Target } from './wrk.ts';

const thousand = 1_000;
const million = 1_000_000;
const small: Sizes = { users: 10 * thousand, promotions: 10 * thousand, subscriptions: 10 * thousand };

interface Volume {
  /** Short, as in "post at 1M". */
  name: string;
  sizes: Sizes;
  listsOnly: boolean;
}

/** The first is what the others are held against. */
function volumes(quick: boolean): Volume[] {
  const evenly = (rows: number): Sizes => ({ users: rows, promotions: rows, subscriptions: rows });
  if (quick) {
    return [
      { name: '10k', sizes: small, listsOnly: false },
      { name: '100k', sizes: evenly(100 * thousand), listsOnly: false },
    ];
  }
  return [
    { name: '10k', sizes: small, listsOnly: false },
    { name: '1M', sizes: evenly(million), listsOnly: false },
    { name: '10M', sizes: { users: million, promotions: million, subscriptions: 10 * million }, listsOnly: true },
  ];
}

const titles = {
  post: 'POST /subscriptions',
  get: 'GET /promotions/{id}',
  list: "an ordinary user's list",
  hot: "the hot promotion's first page",
  deep: "a page in the middle of the hot promotion's",
};
type Kind = keyof typeof titles;

export async function measureGrowth(servers: Servers, plan: Plan): Promise<Section> {
  const cases: Case[] = [];
  const rows: Row[] = [];
  const stops: (() => Promise<unknown>)[] = [];
  const [base, ...others] = volumes(!plan.repeat);
  if (!base) throw new Error('nothing to compare with');
  for (const volume of [base, ...others]) {
    plan.say(`filling a database with ${JSON.stringify(volume.sizes)} …`);
    const started = await startVolume(servers, volume);
    cases.push(...started.cases);
    stops.push(started.stop);
  }
  const rounds = await interleave(cases, plan);
  const cost = ({ cpu }: Round): number => (cpu.service ?? 0) + (cpu.postgres ?? 0);
  for (const { name } of others) {
    for (const [kind, title] of Object.entries(titles)) {
      const much = rounds[`${kind} at ${name}`];
      if (!much) continue;
      const what = `${title}: CPU at ${name} rows / ${base.name}`;
      rows.push({ row: 7, what, value: ratio(much, rounds[`${kind} at ${base.name}`], cost), goal: { atMost: 1.2 } });
    }
  }
  for (const stop of stops) await stop();
  return { name: 'growth', rows, cases: rounds, skipped: [] };
}

async function startVolume(servers: Servers, { name, sizes, listsOnly }: Volume) {
  const place = await createPlace(servers, `rows${name.toLowerCase()}`, sizes);
  const { promotions, subscriptions } = await startParts(servers, place, ['promotions', 'subscriptions']);
  if (!promotions || !subscriptions) throw new Error('a service did not start');
  const hot = '/subscriptions?promotion_id=1&limit=20';
  const middle = Math.floor(sizes.subscriptions / perUser / 2);
  const answer = await fetch(`${subscriptions.url}${hot}&offset=${middle}`);
  const { next_cursor } = (await answer.json()) as { next_cursor: string };
  const { url } = subscriptions;
  const targets: Record<Kind, Target> = {
    post: target('post', url, sizes),
    get: target('get', promotions.url, sizes),
    list: target('list', url, sizes),
    hot: { url, method: 'GET', path: hot },
    deep: { url, method: 'GET', path: `${hot}&cursor=${next_cursor}` },
  };
  const kinds = (Object.keys(titles) as Kind[]).filter((kind) => !listsOnly || (kind !== 'post' && kind !== 'get'));
  const cases = kinds.map((kind): Case => {
    const service = kind === 'get' ? promotions : subscriptions;
    return {
      name: `${kind} at ${name}`,
      components: () => ({ service: service.pid, postgres: servers.postgresPid, rabbitmq: servers.rabbitPid }),
      ...(kind === 'post' && { prepare: () => takeBack(place.sql, sizes) }),
      run: (seconds) => loadHttp(servers.folder, targets[kind], { connections, seconds }),
    };
  });
  const stop = () => Promise.all([promotions.stop(), subscriptions.stop()]);
  return { cases, stop };
}
