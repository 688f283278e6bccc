// `npm run soak`: runs the stack as separate processes under a steady load, without faults, and checks whether anything
// grows. The exit code is 0 only when nothing does and every promise was kept.
//   --minutes M   duration (default 30)        --per-second N   operations per second (default 60)
//   --seed N      of the load                  --json FILE      where the report is written as JSON
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type Lifecycle, runLifecycle } from '../../local/lifecycle.ts';
import { seededRandom } from '../../local/random.ts';
import { allTexts, type Canary, checkCanary, makeCanary, requiredSources } from './canary.ts';
import type { Check } from './check.ts';
import { checkSteadyRun, checkTotals } from './checks.ts';
import { checkContactData } from './contact-data.ts';
import { startEventStream } from './event-stream.ts';
import { type FinalState, finishRun } from './final-state.ts';
import { assessSeries, checkGrowth, type Measure, printMeasures, type Series } from './growth.ts';
import { isUnanswered } from './history.ts';
import { type Load, startLoad } from './load.ts';
import { checkBrokerConnections, checkProcesses } from './process-checks.ts';
import { countBreaches, countResponses, printChecks, printResponses, progressLine } from './report.ts';
import { mergeRetries } from './retries.ts';
import { type Sampling, startSampling } from './sampling.ts';
import { type Stack, startStack } from './stack.ts';

const sampleEveryMs = 5_000;
const progressEveryMs = 30_000;
const maxWarmUpSeconds = 600;
/** Share of requests that may have an unknown outcome: the machine may be busy with something else. */
const maxUnknownShare = 0.001;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '30' },
    'per-second': { type: 'string', default: '60' },
    json: { type: 'string' },
  },
});
const seed = Number(values.seed);
const minutes = Number(values.minutes);
const perSecond = Number(values['per-second']);
if (!Number.isInteger(seed)) throw new Error('--seed takes an integer');
if (!(minutes > 0) || !(perSecond > 0)) throw new Error('--minutes and --per-second take a positive number');
if (process.platform !== 'linux') throw new Error('npm run soak needs Linux: it reads /proc');
const jsonFile = resolve(values.json ?? join(import.meta.dirname, '../..', '.data', 'soak.json'));

// Within the warm-up heaps reach their size, pools fill, and the outboxes begin to prune published rows.
const warmUpSeconds = Math.round(Math.min(maxWarmUpSeconds, minutes * 60 * 0.4));
const retentionSeconds = Math.max(1, Math.min(120, Math.round(warmUpSeconds / 2)));

await runLifecycle(async (lifecycle) => {
  const { say, print, keep, folder } = lifecycle;
  print(`Soak: ${minutes} min at ${perSecond} operations/s; the first ${warmUpSeconds} s are not assessed`);
  print(`OUTBOX_RETENTION_SECONDS is ${retentionSeconds}: older published rows are pruned`);
  const settings = { OUTBOX_RETENTION_SECONDS: String(retentionSeconds) };
  const stack = await startStack(lifecycle, {
    settings,
    traced: true,
    measured: true,
    inspected: true,
    asksCallers: true,
  });
  say(`two replicas of every part are ready; logs in ${folder}`);
  const canary = makeCanary(seededRandom(seed + 2));
  const { url, credential } = stack;
  const load = startLoad({ url, random: seededRandom(seed + 1), perSecond, canary, credential });
  keep(() => load.stop());
  const events = startEventStream(stack, { load, random: seededRandom(seed + 4) });
  keep(() => events.stop());
  const sampling = await startSampling(stack, sampleEveryMs);
  keep(() => sampling.stop());
  await waitWithProgress(load, sampling, lifecycle);
  if (lifecycle.isStopping()) return 130;
  await sampling.stop();
  await events.stop();
  const counted = await events.check();
  const finalState = await finishRun(stack, load);

  const series = sampling.series();
  const measures = series.map((each) => assessSeries(each, warmUpSeconds));
  const checks = [...(await checkEverything(stack, load, { canary, finalState, measures })), counted];
  const breaches = countBreaches(checks);
  report(load, { series, measures, checks, breaches }, print);
  if (breaches > 0) lifecycle.keepFolder();
  return breaches === 0 ? 0 : 1;
});

interface Findings {
  series: readonly Series[];
  measures: readonly Measure[];
  checks: readonly Check[];
  breaches: number;
}

function report({ history }: Load, findings: Findings, print: Lifecycle['print']): void {
  const { measures, checks, breaches } = findings;
  const responses = countResponses(history);
  printResponses(responses, print);
  printMeasures(measures, print);
  printChecks(checks, print);
  print(`\n${minutes} min, ${history.length} requests: ${breaches === 0 ? noGrowth(measures) : 'NOT FLAT'}`);
  const settingsUsed = { seed, minutes, perSecond, warmUpSeconds, retentionSeconds };
  mkdirSync(dirname(jsonFile), { recursive: true });
  writeFileSync(jsonFile, `${JSON.stringify({ ...settingsUsed, responses, ...findings }, undefined, 1)}\n`);
  print(`The report with every sample, as JSON: ${jsonFile}`);
}

async function waitWithProgress(load: Load, sampling: Sampling, lifecycle: Lifecycle): Promise<void> {
  const until = Date.now() + minutes * 60_000;
  for (let lastAt = Date.now(); Date.now() < until && !lifecycle.isStopping(); await sleep(500)) {
    if (Date.now() - lastAt < progressEveryMs) continue;
    lastAt = Date.now();
    lifecycle.say(`      ${progressLine(load.history, 30)}; ${sampling.summary()}`);
  }
}

interface RunResult {
  canary: Canary;
  finalState: FinalState;
  measures: readonly Measure[];
}

async function checkEverything(
  stack: Stack,
  load: Load,
  { canary, finalState, measures }: RunResult,
): Promise<Check[]> {
  const { databaseState, apiState, quietAfterMs } = finalState;
  const secrets = stack.credential ? [stack.credential] : [];
  return [
    ...checkSteadyRun(load.history, databaseState),
    ...checkContactData(mergeRetries(load.history, databaseState.events), apiState.users),
    checkTotals(databaseState, apiState),
    await checkCanary(
      { ...canary, secrets },
      allTexts(stack, load.history, finalState.metrics),
      requiredSources(stack),
    ),
    checkProcesses(stack),
    checkBrokerConnections(stack),
    checkServed(load, quietAfterMs),
    checkGrowth(measures),
  ];
}

function checkServed({ history, skipped }: Load, quietAfterMs: number | undefined): Check {
  const unknown = history.filter(isUnanswered).length;
  const max = history.length * maxUnknownShare;
  return {
    promise: 'without faults every request is answered, at the requested rate',
    examined: `${unknown} with no response, 503 or 504; ${skipped()} not sent because too many were in flight`,
    breaches: [
      ...(unknown > max ? [`${unknown} of ${history.length} requests had no response, 503 or 504`] : []),
      ...(skipped() > max ? [`${skipped()} operations could not be started`] : []),
      ...(quietAfterMs === undefined ? ['the services were never quiet'] : []),
    ],
  };
}

function noGrowth(measures: readonly Measure[]): string {
  const unproven = measures.filter(({ assessment }) => assessment === 'unproven').length;
  const doubt = `, ${unproven} of ${measures.length} unproven (too few samples, or too much variation)`;
  return `nothing grows${unproven > 0 ? doubt : ''}`;
}
