// `npm run chaos`: runs the stack as separate processes under a load, injects one fault after another, and then checks
// every promise. The exit code is 0 only when every promise was kept.
//   --seed N      repeats the faults and requests of a run  --minutes M   minimum duration (default 3)
//   --only FAULT  injects this fault only                   --json FILE   where the report is written as JSON
//   --auth on|off whether callers need API keys (default: the seed decides)
//   --short       every fault once, on one target, for its shortest duration: four to six minutes in all
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type Lifecycle, runLifecycle } from '../../local/lifecycle.ts';
import { seededRandom } from '../../local/random.ts';
import { allTexts, type Canary, checkCanary, makeCanary, requiredSources } from './canary.ts';
import type { Check } from './check.ts';
import { checkHistory, checkTotals } from './checks.ts';
import { checkContactData } from './contact-data.ts';
import { checkActivatedPromotions, checkEndedPromotions } from './ended-promotions.ts';
import { startEventStream } from './event-stream.ts';
import { type FinalState, finishRun } from './final-state.ts';
import { checkRecoveries, injectAll } from './inject-plan.ts';
import { checkRevocations, mayDisturbKeys, type Revocations, startRevocations } from './key-revocations.ts';
import { type Load, startLoad } from './load.ts';
import { makePlan, type Plan } from './plan.ts';
import { checkProcesses } from './process-checks.ts';
import { type CompletedInjection, type Recovery, recoveryOf } from './recovery.ts';
import { countBreaches, countResponses, printReport, progressLine, type Report } from './report.ts';
import { mergeRetries } from './retries.ts';
import { type Stack, startStack } from './stack.ts';

const perSecond = 30;
const progressEveryMs = 10_000;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
    minutes: { type: 'string' },
    short: { type: 'boolean', default: false },
    only: { type: 'string' },
    json: { type: 'string' },
    auth: { type: 'string' },
  },
});
const seed = Number(values.seed);
const minutes = Number(values.minutes ?? (values.short ? 0 : 3));
if (!Number.isInteger(seed) || !(minutes >= 0)) {
  throw new Error('--seed takes an integer, --minutes a number that is not negative');
}
if (values.auth !== undefined && values.auth !== 'on' && values.auth !== 'off') throw new Error('--auth is on or off');
const asksCallers = values.auth ? values.auth === 'on' : seededRandom(seed + 3).next() < 0.5;
const jsonFile = resolve(values.json ?? join(import.meta.dirname, '../..', '.data', `chaos-${seed}.json`));

await runLifecycle(async (lifecycle) => {
  const { say, print, keep, folder } = lifecycle;
  const plan = makePlan(seededRandom(seed), values);
  printPlan(plan, print);
  const startedAt = performance.now();
  const stack = await startStack(lifecycle, { traced: true, measured: true, asksCallers });
  say(`two replicas of every part are ready; logs in ${folder}`);
  const canary = makeCanary(seededRandom(seed + 2));
  const { url, credential } = stack;
  const load = startLoad({ url, random: seededRandom(seed + 1), perSecond, canary, credential });
  keep(() => load.stop());
  const revocations = credential ? startRevocations({ ...stack, credential }) : undefined;
  keep(async () => revocations?.stop());
  const events = startEventStream(stack, { load, random: seededRandom(seed + 4) });
  keep(() => events.stop());
  const injections = await injectWithProgress(stack, plan, load, lifecycle);
  if (lifecycle.isStopping()) return 130;
  say('no more faults; the load ends');
  await revocations?.stop();
  await events.stop();
  const counted = await events.check();
  const finalState = await finishRun(stack, load);

  const recoveries = injections.map((injection) => recoveryOf(injection, load.history));
  const checks = [...(await checkEverything(stack, load, { canary, finalState, recoveries, revocations })), counted];
  const report: Report = {
    ...{ seed, asksCallers, minutes, seconds: (performance.now() - startedAt) / 1_000 },
    requests: load.history.length,
    responses: countResponses(load.history),
    quietAfterMs: finalState.quietAfterMs,
    ...{ recoveries, checks, breaches: countBreaches(checks) },
  };
  printReport(report, print);
  writeReport(report, print);
  if (report.breaches > 0) keepEvidence(lifecycle, load, finalState);
  return report.breaches === 0 ? 0 : 1;
});

function writeReport(report: Report, print: Lifecycle['print']): void {
  mkdirSync(dirname(jsonFile), { recursive: true });
  writeFileSync(jsonFile, `${JSON.stringify(report, undefined, 2)}\n`);
  print(`The report as JSON: ${jsonFile}`);
}

function printPlan(plan: Plan, print: Lifecycle['print']): void {
  const callers = asksCallers ? 'AUTH=required' : 'AUTH=off';
  print(`Chaos with seed ${seed}, ${callers}: at least ${minutes} min, and every fault of this plan`);
  for (const [index, { fault, target, holdMs }] of plan.required.entries()) {
    const number = String(index + 1).padStart(2);
    print(`  ${number}. ${fault.padEnd(19)} ${target.padEnd(26)} ${(holdMs / 1_000).toFixed(1)} s`);
  }
}

async function injectWithProgress(
  stack: Stack,
  plan: Plan,
  load: Load,
  lifecycle: Lifecycle,
): Promise<CompletedInjection[]> {
  const progress = setInterval(() => lifecycle.say(`      ${progressLine(load.history, 10)}`), progressEveryMs);
  try {
    return await injectAll(stack, load, lifecycle, { plan, minutes });
  } finally {
    clearInterval(progress);
  }
}

interface RunResult {
  canary: Canary;
  finalState: FinalState;
  recoveries: readonly Recovery[];
  revocations: Revocations | undefined;
}

async function checkEverything(
  stack: Stack,
  { history }: Load,
  { canary, finalState, recoveries, revocations }: RunResult,
): Promise<Check[]> {
  const { databaseState, apiState } = finalState;
  const merged = mergeRetries(history, databaseState.events);
  const secrets = [...(stack.credential ? [stack.credential] : []), ...(revocations?.secrets ?? [])];
  return [
    ...checkHistory(history, databaseState),
    checkEndedPromotions(
      merged,
      databaseState,
      recoveries.flatMap(({ undone }) => undone ?? []),
    ),
    checkActivatedPromotions(merged, databaseState),
    ...checkContactData(merged, apiState.users),
    checkTotals(databaseState, apiState),
    await checkCanary({ ...canary, secrets }, allTexts(stack, history, finalState.metrics), requiredSources(stack)),
    checkProcesses(stack),
    checkRecoveries(recoveries),
    ...(revocations ? [checkRevocations(revocations.list, recoveries.filter(mayDisturbKeys))] : []),
  ];
}

/** Keeps the folder with the logs, and adds the history and the final state to it. */
function keepEvidence(lifecycle: Lifecycle, { history }: Load, { databaseState, apiState }: FinalState): void {
  const { folder, print } = lifecycle;
  lifecycle.keepFolder();
  writeFileSync(join(folder, 'history.json'), JSON.stringify(history, undefined, 1));
  writeFileSync(join(folder, 'state.json'), JSON.stringify({ databaseState, apiState }, undefined, 1));
  print(`History, final state and logs are kept in ${folder}`);
}
