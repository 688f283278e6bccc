// `npm run chaos`: the mesh as separate processes, a load, and one fault after another; then the judgement. Exits
// with 0 only when every promise was kept. Whatever happens, what was started is stopped, by its process id.
//   --seed N      repeats a run's faults and requests      --minutes M   at least so long (default 3)
//   --only FAULT  strikes with this one alone              --json FILE   where the report goes as JSON
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { checkHistory } from './checks.ts';
import { checkEnds } from './ends.ts';
import { type Facts, isQuiet, readFacts } from './facts.ts';
import { faults, type Strike } from './faults.ts';
import { writeKinds } from './history.ts';
import { type Load, startLoad } from './load.ts';
import { type Mesh, startMesh } from './mesh.ts';
import { makePlan, type Plan } from './plan.ts';
import { checkProcesses } from './processes.ts';
import { seeded } from './random.ts';
import { missingSince, type Outcome, recoveryOf } from './recovery.ts';
import { countAnswers, printReport, progressLine, type Report } from './report.ts';
import { temporaryFolder } from './servers.ts';

const perSecond = 30;
/** RabbitMQ gives a consumer up that it has not heard for two to three heartbeats of 10 s, and hands on what it held. */
const recoversWithinMs = 40_000;
const quietWithinMs = 60_000;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
    minutes: { type: 'string', default: '3' },
    only: { type: 'string' },
    json: { type: 'string' },
  },
});
const seed = Number(values.seed);
const minutes = Number(values.minutes);
if (!Number.isInteger(seed) || !(minutes > 0)) throw new Error('--seed takes a whole number, --minutes a positive one');
const jsonFile = resolve(values.json ?? join(import.meta.dirname, '..', '.data', `chaos-${seed}.json`));

process.setMaxListeners(0); // each process that we start is to end with us
const startedAt = performance.now();
const say = (line: string): void => {
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1).padStart(6);
  process.stdout.write(`${seconds} s  ${line}\n`);
};
const print = (line: string): void => void process.stdout.write(`${line}\n`);

const stops: (() => Promise<unknown>)[] = [];
let keepFolder = false;
let stopping: Promise<void> | undefined;

function stopEverything(): Promise<void> {
  stopping ??= (async () => {
    for (let stop = stops.pop(); stop; stop = stops.pop()) {
      await stop().catch((error: unknown) => say(`a part did not stop: ${(error as Error).message}`));
    }
  })();
  return stopping;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (stopping) return;
    say(`${signal}: stopping …`);
    void stopEverything().then(() => process.exit(130));
  });
}

async function main(): Promise<number> {
  const plan = makePlan(seeded(seed), values.only);
  print(`Chaos with seed ${seed}: at least ${minutes} min and every fault of this plan`);
  for (const [index, { fault, target, holdMs }] of plan.required.entries()) {
    print(
      `  ${String(index + 1).padStart(2)}. ${fault.padEnd(17)} ${target.padEnd(26)} ${(holdMs / 1_000).toFixed(1)} s`,
    );
  }
  const keep = (stop: () => Promise<unknown>): void => void stops.push(stop);
  const folder = temporaryFolder(keep, () => keepFolder);
  const mesh = await startMesh(folder, say, keep);
  say(`two replicas of everything are ready; logs in ${folder}`);

  const load = startLoad({ url: mesh.url, random: seeded(seed + 1), perSecond });
  keep(() => load.stop());
  const progress = setInterval(() => say(`      ${progressLine(load.history, 10)}`), 10_000);
  keep(async () => clearInterval(progress));
  const outcomes = await strikeAll(mesh, plan, load);
  if (stopping) return 130;
  say('no more faults; the load ends');
  await load.stop();
  clearInterval(progress);
  const { facts, quietAfterMs } = await waitForQuiet(mesh);

  const recoveries = outcomes.map((outcome) => recoveryOf(outcome, load.history));
  const late = recoveries.flatMap(({ fault, target, after, failure }) => [
    ...(failure ? [`${fault} ${target}: ${failure}`] : []),
    ...Object.entries(after)
      .filter(([, ms]) => ms === undefined || ms > recoversWithinMs)
      .map(([sign, ms]) => `${fault} ${target}: ${sign} after ${ms ?? 'no'} ms`),
  ]);
  await Promise.all(mesh.replicas.map((replica) => replica.stop()));
  const recovered = `${recoveries.length} faults, within ${recoversWithinMs / 1_000} s each`;
  const checks = [
    ...checkHistory(load.history, facts),
    checkEnds(load.history, facts),
    checkProcesses(mesh),
    {
      promise: 'after every fault writes of every kind succeed again, and projections follow',
      looked: recovered,
      breaches: late,
    },
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
    keepFolder = true;
    writeFileSync(join(folder, 'history.json'), JSON.stringify(load.history, undefined, 1));
    writeFileSync(join(folder, 'facts.json'), JSON.stringify(facts, undefined, 1));
    print(`History and logs are kept in ${folder}`);
  }
  return report.breaches === 0 ? 0 : 1;
}

async function strikeAll(mesh: Mesh, plan: Plan, load: Load): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  await recovered(Date.now(), load);
  const until = Date.now() + minutes * 60_000;
  for (let index = 0; index < plan.required.length || Date.now() < until; index += 1) {
    if (stopping) return outcomes;
    load.hurry(writeKinds);
    const outcome = await strikeOnce(mesh, plan.required[index] ?? plan.further());
    outcomes.push(outcome);
    await recovered(outcome.recoverFrom, load);
  }
  return outcomes;
}

async function strikeOnce(mesh: Mesh, strike: Strike): Promise<Outcome> {
  const began = Date.now();
  say(`${strike.fault} ${strike.target}${strike.holdMs > 0 ? ` for ${(strike.holdMs / 1_000).toFixed(1)} s` : ''}`);
  try {
    const struck = await faults.find(({ name }) => name === strike.fault)?.strike(mesh, strike);
    if (struck?.note) say(`      ${struck.note}`);
    return { ...strike, began, recoverFrom: Date.now(), ...struck };
  } catch (error) {
    say(`      ${(error as Error).message}`);
    return { ...strike, began, recoverFrom: Date.now(), failure: (error as Error).message };
  }
}

async function recovered(since: number, { history, hurry }: Load): Promise<void> {
  const deadline = Date.now() + recoversWithinMs;
  while (!stopping && Date.now() < deadline) {
    const missing = missingSince(since, history);
    hurry(missing.map(({ ask }) => ask));
    if (missing.length === 0) return;
    await sleep(100);
  }
}

async function waitForQuiet(mesh: Mesh): Promise<{ facts: Facts; quietAfterMs: number | undefined }> {
  const since = Date.now();
  for (;;) {
    const facts = await readFacts(mesh);
    if (isQuiet(facts)) return { facts, quietAfterMs: Date.now() - since };
    if (Date.now() - since > quietWithinMs) return { facts, quietAfterMs: undefined };
    await sleep(500);
  }
}

process.exitCode = await main().catch((error: Error) => {
  if (stopping) return 130;
  say(`the run itself failed: ${error.stack}`);
  keepFolder = true;
  return 1;
});
await stopEverything();
process.exit();
