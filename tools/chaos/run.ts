// `npm run chaos`: the mesh as separate processes, a load, and one fault after another; then the judgement. Exits
// with 0 only when every promise was kept.
//   --seed N      repeats a run's faults and requests      --minutes M   at least so long (default 3)
//   --only FAULT  strikes with this one alone              --json FILE   where the report goes as JSON
//   --short       every fault once, on one target, for as short as it takes: two to three minutes in all
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type Lifecycle, runLifecycle } from '../../local/lifecycle.ts';
import { checkCanary, everywhere, makeCanary } from './canary.ts';
import { type Check, checkHistory, checkTotals } from './checks.ts';
import { checkAddresses } from './contact-data.ts';
import { readShown, waitForQuiet } from './database-state.ts';
import { checkEnds } from './ended-promotions.ts';
import { type Strike, strikeWith } from './faults.ts';
import { writeKinds } from './history.ts';
import { type Load, startLoad } from './load.ts';
import { makePlan, type Plan } from './plan.ts';
import { checkProcesses } from './processes.ts';
import { seeded } from './random.ts';
import { missingSince, type Outcome, type Recovery, recoveryOf } from './recovery.ts';
import { countAnswers, printReport, progressLine, type Report } from './report.ts';
import { type Stack, startStack } from './stack.ts';

const perSecond = 30;
/**
 * RabbitMQ gives a consumer up that it has not heard for two to three heartbeats of 5 s, and hands on what it held. The
 * rest is for a machine with other things to do, on which an event may take longer than the second that is waited for.
 */
const recoversWithinMs = 90_000;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
    minutes: { type: 'string' },
    short: { type: 'boolean', default: false },
    only: { type: 'string' },
    json: { type: 'string' },
  },
});
const seed = Number(values.seed);
const minutes = Number(values.minutes ?? (values.short ? 0 : 3));
if (!Number.isInteger(seed) || !(minutes >= 0))
  throw new Error('--seed takes a whole number, --minutes a positive one');
const jsonFile = resolve(values.json ?? join(import.meta.dirname, '../..', '.data', `chaos-${seed}.json`));

await runLifecycle(async (stage) => {
  const { say, print, keep, folder } = stage;
  const plan = makePlan(seeded(seed), values);
  print(`Chaos with seed ${seed}: at least ${minutes} min and every fault of this plan`);
  for (const [index, { fault, target, holdMs }] of plan.required.entries()) {
    print(
      `  ${String(index + 1).padStart(2)}. ${fault.padEnd(17)} ${target.padEnd(26)} ${(holdMs / 1_000).toFixed(1)} s`,
    );
  }
  const startedAt = performance.now();
  const stack = await startStack(folder, say, keep);
  say(`two replicas of everything are ready; logs in ${folder}`);

  const canary = makeCanary(seeded(seed + 2));
  const load = startLoad({ url: stack.url, random: seeded(seed + 1), perSecond, canary });
  keep(() => load.stop());
  const progress = setInterval(() => say(`      ${progressLine(load.history, 10)}`), 10_000);
  keep(async () => clearInterval(progress));
  const outcomes = await strikeAll(stack, plan, load, stage);
  if (stage.isStopping()) return 130;
  say('no more faults; the load ends');
  await load.stop();
  clearInterval(progress);
  const { facts, quietAfterMs } = await waitForQuiet(stack);
  const shown = await readShown(stack.url, facts);

  await Promise.all(stack.replicas.map((replica) => replica.stop()));

  const recoveries = outcomes.map((outcome) => recoveryOf(outcome, load.history));
  const checks = [
    ...checkHistory(load.history, facts),
    checkEnds(load.history, facts),
    ...checkAddresses(load.history, shown.users),
    checkTotals(facts, shown),
    await checkCanary(canary, everywhere(stack, load.history)),
    checkProcesses(stack),
    checkRecoveries(recoveries),
  ];
  const report: Report = {
    seed,
    minutes,
    seconds: (performance.now() - startedAt) / 1_000,
    requests: load.history.length,
    answers: countAnswers(load.history),
    quietAfterMs,
    recoveries,
    checks,
    breaches: checks.reduce((sum, { breaches }) => sum + breaches.length, 0),
  };
  printReport(report, print);
  mkdirSync(dirname(jsonFile), { recursive: true });
  writeFileSync(jsonFile, `${JSON.stringify(report, undefined, 2)}\n`);
  print(`The same as JSON: ${jsonFile}`);
  if (report.breaches > 0) {
    stage.keepFolder();
    writeFileSync(join(folder, 'history.json'), JSON.stringify(load.history, undefined, 1));
    writeFileSync(join(folder, 'facts.json'), JSON.stringify({ facts, shown }, undefined, 1));
    print(`History and logs are kept in ${folder}`);
  }
  return report.breaches === 0 ? 0 : 1;
});

function checkRecoveries(recoveries: readonly Recovery[]): Check {
  const breaches = recoveries.flatMap(({ fault, target, after, failure }) => [
    ...(failure ? [`${fault} ${target}: ${failure}`] : []),
    ...Object.entries(after)
      .filter(([, ms]) => ms === undefined || ms > recoversWithinMs)
      .map(([sign, ms]) => `${fault} ${target}: ${sign} after ${ms ?? 'no'} ms`),
  ]);
  return {
    promise: 'after every fault writes of every kind succeed again, and projections follow',
    looked: `${recoveries.length} faults, within ${recoversWithinMs / 1_000} s each`,
    breaches,
  };
}

async function strikeAll(stack: Stack, plan: Plan, load: Load, stage: Lifecycle): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  await recovered(Date.now(), load, stage);
  const until = Date.now() + minutes * 60_000;
  for (let index = 0; index < plan.required.length || Date.now() < until; index += 1) {
    if (stage.isStopping()) return outcomes;
    load.hurry(writeKinds);
    const outcome = await strikeOnce(stack, plan.required[index] ?? plan.further(), stage);
    outcomes.push(outcome);
    await recovered(outcome.recoverFrom, load, stage);
  }
  return outcomes;
}

async function strikeOnce(stack: Stack, strike: Strike, { say }: Lifecycle): Promise<Outcome> {
  const began = Date.now();
  say(`${strike.fault} ${strike.target}${strike.holdMs > 0 ? ` for ${(strike.holdMs / 1_000).toFixed(1)} s` : ''}`);
  try {
    const struck = await strikeWith(stack, strike);
    if (struck.note) say(`      ${struck.note}`);
    return { ...strike, began, ...struck };
  } catch (error) {
    say(`      ${(error as Error).message}`);
    return { ...strike, began, recoverFrom: Date.now(), failure: (error as Error).message };
  }
}

async function recovered(since: number, { history, hurry }: Load, stage: Lifecycle): Promise<void> {
  const deadline = Date.now() + recoversWithinMs;
  while (!stage.isStopping() && Date.now() < deadline) {
    const missing = missingSince(since, history);
    hurry(missing.map(({ ask }) => ask));
    if (missing.length === 0) return;
    await sleep(100);
  }
}
