// `npm run rollout`: brings this checkout out over the release before it, under load and as processes on this machine,
// takes it back, and brings it out again, with its migrations. The exit code is 0 only when no request failed, no
// message became a dead letter and every event was applied. No request is repeated.
//   --from COMMIT   the release before (default: the last commit of 0.1.0)   --seed N  repeats the requests of a run
//   --per-second N  operations per second (default 20)                       --short   out and back, without pauses
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type Lifecycle, runLifecycle } from '../../local/lifecycle.ts';
import { seededRandom } from '../../local/random.ts';
import { makeCanary } from './canary.ts';
import { type Load, startLoad } from './load.ts';
import { checkOutRelease, hasInternalListener } from './release-checkout.ts';
import { checkRollout } from './rollout-checks.ts';
import { type Part, type Release, type RolloutStack, startRolloutServers } from './rollout-stack.ts';

/** The last commit of 0.1.0, which has no tag. */
const lastCommitOf010 = 'de081ed8';
/** Consumers of events before the owners that 0.1.0 has (docs/operations.md, Change a contract), then what is new. */
const forward: readonly (readonly Part[])[] = [['subscriptions'], ['users', 'promotions'], ['engagement'], ['gateway']];
const back = forward.toReversed();
const startOrder: typeof forward = [['users', 'promotions'], ['subscriptions'], ['engagement'], ['gateway']];

const { values } = parseArgs({
  options: {
    from: { type: 'string', default: lastCommitOf010 },
    seed: { type: 'string', default: '1' },
    'per-second': { type: 'string', default: '20' },
    short: { type: 'boolean', default: false },
  },
});
const [seed, perSecond] = [Number(values.seed), Number(values['per-second'])];
if (!Number.isInteger(seed) || !(perSecond > 0))
  throw new Error('--seed takes an integer, --per-second a number above 0');
/** A busy machine is late. That is no failure of the rollout. */
const timeoutMs = 60_000;
/** Between two rollouts. */
const steadyMs = values.short ? 1_000 : 8_000;

await runLifecycle(async (lifecycle) => {
  const { say, keep, folder } = lifecycle;
  const root = checkOutRelease(values.from, join(folder, 'release-before'));
  const before: Release = { name: 'before', root, hasInternalListener: hasInternalListener(root) };
  const now: Release = { name: 'now', root: resolve(import.meta.dirname, '../..'), hasInternalListener: true };
  // A service of 0.1.0 closes idle connections at its stop, and with them requests on their way. So each request gets a
  // connection of its own, as nginx does by default. Later releases wait for such requests.
  const stack = await startRolloutServers(lifecycle, before.hasInternalListener ? 'connections' : 'requests');
  // Owners first: a consumer asks them as soon as it starts.
  for (const group of startOrder) await Promise.all(group.map((part) => stack.start(part, before)));
  say(`${values.from} runs, two replicas of every part; logs in ${folder}`);
  const load = startLoad({
    ...{ url: stack.url, perSecond, timeoutMs, random: seededRandom(seed), canary: makeCanary(seededRandom(seed + 1)) },
    retries: false, // each request must succeed at once
    without: before.hasInternalListener ? [] : ['reactivate'], // 0.1.0 has no such route
  });
  keep(() => load.stop());
  await sleep(steadyMs);
  await rollOutAndBack({ lifecycle, stack, load, before, now });
  if (lifecycle.isStopping()) return 130;
  const breaches = await checkRollout(stack, load, lifecycle.print);
  if (breaches > 0) lifecycle.keepFolder();
  return breaches === 0 ? 0 : 1;
});

interface Run {
  lifecycle: Lifecycle;
  stack: RolloutStack;
  load: Load;
  before: Release;
  now: Release;
}

async function rollOutAndBack({ lifecycle: { say }, stack, load, before, now }: Run): Promise<void> {
  const step = async (title: string, work: () => Promise<unknown>): Promise<void> => {
    const [sent, startedAt] = [load.history.length, performance.now()];
    await work();
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0);
    say(`${title}: ${seconds} s, ${load.history.length - sent} requests`);
  };
  const migrate = async (command: 'expand' | 'up'): Promise<void> => {
    const applied = await stack.migrate(now, command);
    say(`${applied.length} migrations: ${applied.join(', ')}`);
  };
  const roll = async (order: typeof forward, release: Release): Promise<void> => {
    for (const group of order) {
      const title = `${group.join(' and ')} to the release ${release.name}`;
      await step(title, () => Promise.all(group.map((part) => stack.rollOut(part, release))));
    }
    await sleep(steadyMs);
  };
  await step('migrations that the release before works with', () => migrate('expand'));
  await roll(forward, now);
  await roll(back, before);
  if (values.short) return;
  await roll(forward, now);
  await step('migrations that end the release before', () => migrate('up'));
  await sleep(steadyMs);
}
