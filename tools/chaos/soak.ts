// `npm run soak`: the mesh as separate processes under a steady load and without faults, to see whether anything
// grows. Exits with 0 only when nothing does and what was answered is what is there.
//   --minutes M   default 30       --per-second N   requests, default 60
//   --seed N      of the load      --json FILE      where the report goes as JSON
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { runLifecycle } from '../../local/lifecycle.ts';
import { checkCanary, everywhere, makeCanary } from './canary.ts';
import { type Check, checkSteady, checkTotals } from './checks.ts';
import { checkAddresses } from './contact-data.ts';
import { readShown, waitForQuiet } from './database-state.ts';
import { type Attempt, isOpen } from './history.ts';
import { startLoad } from './load.ts';
import { checkLinks, checkProcesses } from './processes.ts';
import { seeded } from './random.ts';
import { countAnswers, printAnswers, printChecks, progressLine, table } from './report.ts';
import { type Measure, measureOf, startSampling } from './sampling.ts';
import { startStack } from './stack.ts';

const sampleEveryMs = 5_000;
const longestWarmUpSeconds = 600;
/** Of all requests, so many may stay without an answer, or have 503 or 504: the machine has other things to do. */
const openShare = 0.001;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '30' },
    'per-second': { type: 'string', default: '60' },
    json: { type: 'string' },
  },
});
const [seed, minutes, perSecond] = [values.seed, values.minutes, values['per-second']].map(Number) as [
  number,
  number,
  number,
];
if (!Number.isInteger(seed)) throw new Error('--seed takes a whole number');
if (!(minutes > 0) || !(perSecond > 0)) throw new Error('--minutes and --per-second take a positive number');
if (process.platform !== 'linux') throw new Error('processes are looked at by way of /proc, which only Linux has');
const jsonFile = resolve(values.json ?? join(import.meta.dirname, '../..', '.data', 'soak.json'));

await runLifecycle(async (stage) => {
  const { say, print, keep, folder } = stage;
  // Heaps find their size, pools fill, and the outbox has rows to let go of.
  const warmUpSeconds = Math.round(Math.min(longestWarmUpSeconds, minutes * 60 * 0.4));
  const retentionSeconds = Math.max(1, Math.min(120, Math.round(warmUpSeconds / 2)));
  print(`Soak: ${minutes} min at ${perSecond} requests/s, of which ${warmUpSeconds} s are not judged`);
  print(`OUTBOX_RETENTION_SECONDS is ${retentionSeconds}: an outbox keeps what was published since, and nothing older`);
  const settings = { OUTBOX_RETENTION_SECONDS: String(retentionSeconds) };
  const stack = await startStack(folder, say, keep, { settings, inspected: true });
  say(`two replicas of everything are ready; logs in ${folder}`);
  const canary = makeCanary(seeded(seed + 2));
  const load = startLoad({ url: stack.url, random: seeded(seed + 1), perSecond, canary });
  keep(() => load.stop());
  const sampling = await startSampling(stack, sampleEveryMs);
  keep(() => sampling.stop());
  const until = Date.now() + minutes * 60_000;
  for (let told = Date.now(); Date.now() < until && !stage.isStopping(); await sleep(500)) {
    if (Date.now() - told < 30_000) continue;
    told = Date.now();
    say(`      ${progressLine(load.history, 30)}; ${sampling.line()}`);
  }
  if (stage.isStopping()) return 130;
  await sampling.stop();
  await load.stop();
  const { facts, quietAfterMs } = await waitForQuiet(stack);
  const shown = await readShown(stack.url, facts);
  await Promise.all(stack.replicas.map((replica) => replica.stop()));

  const measures = sampling.series().map((series) => measureOf(series, warmUpSeconds));
  const checks = [
    ...checkSteady(load.history, facts),
    ...checkAddresses(load.history, shown.users),
    checkTotals(facts, shown),
    await checkCanary(canary, everywhere(stack, load.history)),
    checkProcesses(stack),
    checkLinks(stack),
    checkServed(load.history, load.skipped(), quietAfterMs),
    checkGrowth(measures),
  ];
  const answers = countAnswers(load.history);
  const breaches = checks.reduce((sum, each) => sum + each.breaches.length, 0);
  printAnswers(answers, print);
  printMeasures(measures, print);
  printChecks(checks, print);
  const unproven = measures.filter(({ verdict }) => verdict === 'unproven').length;
  const doubt = unproven > 0 ? `, ${unproven} of ${measures.length} unproven (too short, or too noisy)` : '';
  print(`\n${minutes} min, ${load.history.length} requests: ${breaches === 0 ? `nothing grows${doubt}` : 'NOT FLAT'}`);
  mkdirSync(dirname(jsonFile), { recursive: true });
  const report = { seed, minutes, perSecond, warmUpSeconds, retentionSeconds, breaches, answers, measures, checks };
  writeFileSync(jsonFile, `${JSON.stringify({ ...report, series: sampling.series() }, undefined, 1)}\n`);
  print(`The same, with every sample, as JSON: ${jsonFile}`);
  if (breaches > 0) stage.keepFolder();
  return breaches === 0 ? 0 : 1;
});

function checkServed(history: readonly Attempt[], skipped: number, quietAfterMs: number | undefined): Check {
  const open = history.filter(isOpen).length;
  return {
    promise: 'without faults everything is answered, at the rate it is asked',
    looked: `${open} without an answer or 503 or 504, ${skipped} not sent because too many were under way`,
    breaches: [
      ...(open > history.length * openShare ? [`${open} of ${history.length} requests had no answer, 503 or 504`] : []),
      ...(skipped > history.length * openShare ? [`${skipped} requests could not be sent`] : []),
      ...(quietAfterMs === undefined ? ['never quiet'] : []),
    ],
  };
}

function checkGrowth(measures: readonly Measure[]): Check {
  const growing = measures.filter(({ verdict }) => verdict === 'GROWS');
  return {
    promise: 'nothing grows beyond its bound',
    looked: `${measures.length} quantities, ${measures[0]?.samples ?? 0} samples each`,
    breaches: growing.map(({ name, unit, perHour }) => `${name}: ${perHour.toFixed(1)} ${unit} per hour`),
  };
}

function printMeasures(measures: readonly Measure[], print: (line: string) => void): void {
  const number = (value: number): string => (Number.isFinite(value) ? value.toFixed(1) : '-');
  print('\nGrowth after the warm-up, per hour: the slope of the line through the least values of every half minute, ±');
  print('its standard error. GROWS: the slope less three errors exceeds the bound, and the rise is more than the');
  print('quantity moves by itself. Flat: the slope plus two errors does not exceed the bound.');
  const rows = measures.map(({ name, unit, start, end, max, perHour, error, bound, verdict }) => [
    name,
    unit,
    ...[start, end, max, perHour].map(number),
    `± ${number(error)}`,
    number(bound),
    verdict,
  ]);
  const heads = ['quantity', 'unit', 'start', 'end', 'max', 'per hour', 'error', 'bound', 'verdict'];
  for (const line of table(heads, rows, 2)) print(line);
}
