// `npm run bench`: what the parts cost, as ratios to what they stand on, measured on this machine in interleaved
// rounds. Progress while it runs, a table at the end, and the same as JSON. Ratios hold on other machines; absolute
// figures do not.
//   --only NAME       one part, or several of: gateway, post, get, list, propagation, outbox, cost, growth, start
//   --rounds N        default 5
//   --seconds N       of a round, default 5
//   --quick           a few minutes: two rounds of a second, less data
//   --json FILE       where the JSON goes, default .data/bench.json
//   --profile FOLDER  leaves CPU profiles of the services there (post, get, list), and says where their time went
//   --write           puts table, chart and JSON into docs/
//   --gate            fails where a request costs more CPU time than tools/bench/baseline.json allows (CI)
//   --baseline        writes into that file what this run measured
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { aptInstall, canAptInstall } from '../../local/apt.ts';
import { type Lifecycle, runLifecycle } from '../../local/lifecycle.ts';
import { measureCost } from './cost.ts';
import { baselineFile, costs, judge, margin, readBaseline } from './gate.ts';
import { measureGateway } from './gateway.ts';
import { measureGrowth } from './growth.ts';
import { measureOutbox } from './outbox.ts';
import { writePage } from './page.ts';
import { findPgbench } from './pgbench.ts';
import { describeProfiles } from './profile.ts';
import { measurePropagation } from './propagation.ts';
import { caseTable, plainTable, type Report, rowTable, type Section } from './report.ts';
import { kinds, measureRequests, memorySection, prepareRequests } from './requests.ts';
import type { Plan } from './rounds.ts';
import { createPlace, startServers } from './stack.ts';
import { measureStart } from './start.ts';
import { findProgram } from './wrk.ts';

const names = ['gateway', ...kinds, 'propagation', 'outbox', 'cost', 'growth', 'start'] as const;

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    profile: { type: 'string' },
    write: { type: 'boolean', default: false },
    gate: { type: 'boolean', default: false },
    baseline: { type: 'boolean', default: false },
  },
});
const { only, quick } = values;
const rounds = Number(values.rounds ?? (quick ? 2 : 5));
if (only?.some((given) => !names.some((name) => name === given))) throw new Error(`--only takes ${names.join(', ')}`);
const seconds = Number(values.seconds ?? (quick ? 1 : 5));
if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds takes a whole number');
if (!Number.isInteger(seconds) || seconds < 1) throw new Error('--seconds takes a whole number');
const root = resolve(import.meta.dirname, '../..');
const jsonFile = resolve(values.json ?? join(root, '.data', 'bench.json'));

async function measureAll({ say, keep, folder, isStopping }: Lifecycle, plan: Plan): Promise<Section[]> {
  const wanted = (name: (typeof names)[number]): boolean => only?.includes(name) ?? true;
  await installMissing(say);
  const servers = await startServers(folder, say, keep);
  say(`PostgreSQL and RabbitMQ ${servers.rabbit.version} are ready`);
  const sizes = quick
    ? { users: 20_000, promotions: 5_000, subscriptions: 20_000 }
    : { users: 100_000, promotions: 10_000, subscriptions: 100_000 };
  const served = await createPlace(servers, 'served', sizes);
  const bare = await createPlace(servers, 'bare', sizes);
  say(`data: ${JSON.stringify(sizes)}`);
  const sections: Section[] = [];
  const again = new Map<string, () => Promise<Section>>();
  /** What goes wrong in one part is told, and does not end the others. */
  const add = async (name: string, measure: () => Promise<Section>): Promise<void> => {
    again.set(name, measure);
    try {
      sections.push(await measure());
    } catch (error) {
      if (isStopping()) throw error;
      say(`${name} failed: ${(error as Error).stack}`);
      sections.push({ name, rows: [], cases: {}, skipped: [], failed: (error as Error).message });
    }
  };
  if (wanted('gateway')) await add('gateway', () => measureGateway(servers, served, plan));
  if (wanted('start')) await add('start', () => measureStart(servers, served, plan));
  if (wanted('outbox')) await add('outbox', () => measureOutbox(servers, bare, plan));
  if (wanted('cost')) await add('cost', () => measureCost(servers, sizes, plan));
  if (wanted('growth')) await add('growth', () => measureGrowth(servers, plan));
  if (wanted('propagation') || kinds.some(wanted)) {
    const requests = await prepareRequests(servers, served, bare, values.profile && resolve(values.profile));
    for (const kind of kinds) if (wanted(kind)) await add(kind, () => measureRequests(kind, requests, plan));
    if (wanted('propagation')) await add('propagation', () => measurePropagation(requests, plan));
    sections.push(memorySection(requests));
  }
  if (values.gate) await confirmDearer(sections, again, say);
  return sections;
}

/** As root on Debian and Ubuntu, like RabbitMQ; elsewhere what is missing is told beside what it would have measured. */
async function installMissing(say: Lifecycle['say']): Promise<void> {
  const packages = [
    ...(findProgram('wrk') ? [] : ['wrk']),
    ...(findProgram('nginx') ? [] : ['nginx-light']),
    ...(findPgbench() ? [] : ['postgresql']),
  ];
  if (packages.length === 0 || !canAptInstall()) return;
  await aptInstall(packages, say).catch((error: Error) => say(error.message));
}

/** What seems dearer than it may be is measured a second time, in case others were at work the first time. */
async function confirmDearer(
  sections: Section[],
  again: Map<string, () => Promise<Section>>,
  say: Lifecycle['say'],
): Promise<void> {
  const suspects = new Set(
    judge(sections, readBaseline()).flatMap(({ verdict, section }) => (verdict === 'DEARER' ? [section] : [])),
  );
  for (const name of suspects) {
    say(`${name} seems dearer than it may be: once more`);
    const second = await again.get(name)?.();
    if (second)
      sections.splice(
        sections.findIndex((section) => section.name === name),
        1,
        second,
      );
  }
}

function versionOf(program: string, args: readonly string[]): string {
  const path = findProgram(program);
  if (!path) return 'not installed';
  try {
    const said = execFileSync(path, [...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    return /\d+(\.\d+)+/.exec(said)?.[0] ?? 'unknown';
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    return /\d+(\.\d+)+/.exec(stdout + stderr)?.[0] ?? 'unknown';
  }
}

await runLifecycle(async (stage) => {
  const { say, print, keep } = stage;
  const startedAt = performance.now();
  const { profile } = values;
  // Kept first, so called last: the profiles are written when the services end.
  if (profile) keep(async () => print(describeProfiles(profile).join('\n')));
  const plan: Plan = { rounds, seconds, warmUp: quick ? 2_000 : 20_000, repeat: !quick, say };
  const sections = await measureAll(stage, plan);
  const report: Report = {
    at: new Date().toISOString(),
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim(),
    machine: `${availableParallelism()} cores of ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    versions: {
      node: process.versions.node,
      pgbench: versionOf('pgbench', ['--version']),
      wrk: versionOf('wrk', ['-v']),
    },
    quick,
    rounds,
    seconds: plan.seconds,
    sections,
  };
  print(`\n${plainTable(caseTable(sections))}`);
  print(`\n${plainTable(rowTable(sections))}`);
  for (const line of sections.flatMap(({ skipped }) => skipped)) print(`\nNOT MEASURED: ${line}`);
  const failed = sections.flatMap((section) => (section.failed ? [`${section.name}: ${section.failed}`] : []));
  for (const line of failed) print(`\nFAILED: ${line}`);
  if (values.write) writePage(report);
  if (values.baseline)
    writeFileSync(baselineFile, `${JSON.stringify({ ...readBaseline(), ...costs(sections) }, undefined, 2)}\n`);
  const verdicts = values.gate ? judge(sections, readBaseline()) : [];
  if (values.gate) print(`\nCPU time per request, held against tools/bench/baseline.json, times ${margin} at most`);
  for (const { what, baseline, cost, verdict } of verdicts) {
    print(`  ${verdict.padEnd(13)}  ${what}: ${cost?.toFixed(2) ?? '-'}, baseline ${baseline}`);
  }
  mkdirSync(dirname(jsonFile), { recursive: true });
  writeFileSync(jsonFile, `${JSON.stringify(report, undefined, 2)}\n`);
  print(`\n${report.machine}; ${Math.round((performance.now() - startedAt) / 1_000)} s. As JSON: ${jsonFile}`);
  return failed.length > 0 || verdicts.some(({ verdict }) => verdict === 'DEARER' || verdict === 'NOT MEASURED')
    ? 1
    : 0;
});
