// `npm run bench`: measures what each part costs, as ratios to known programs on this machine, in interleaved rounds.
// Ratios are comparable between machines; absolute figures are not. Prints progress and tables, and writes JSON.
//   --only NAME       measures one part; may be given several times. The names are in options.ts
//   --rounds N        number of rounds, by default 5
//   --seconds N       length of a round, by default 5
//   --quick           two rounds of a second, and less data: a few minutes
//   --json FILE       where the JSON is written, by default .data/bench.json
//   --profile FOLDER  writes CPU profiles of the services there (for the requests), and prints a summary
//   --write           writes the tables and the chart into docs/
//   --gate            measures only the CPU time of requests, and fails when one costs more than baseline.json allows (CI)
//   --baseline        writes the measured ratios into baseline.json
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { dirname, resolve } from 'node:path';
import { type Lifecycle, runLifecycle } from '../../local/lifecycle.ts';
import { measureCallers } from './callers.ts';
import { measureCost } from './cost.ts';
import { endpointNames } from './endpoints.ts';
import { measureEvents } from './events.ts';
import { assess, baselineFile, margin, measuredRatios, readBaseline } from './gate.ts';
import { measureGateway } from './gateway.ts';
import { measureGrowth } from './growth.ts';
import { measureMetricsCost } from './metrics-cost.ts';
import { readOptions } from './options.ts';
import { measureOutbox } from './outbox.ts';
import { writePage } from './page.ts';
import { describeProfiles } from './profile.ts';
import { installMissing, versionOf } from './programs.ts';
import { measurePropagation } from './propagation.ts';
import { caseTable, plainTable, type Report, rowTable, type Section } from './report.ts';
import { measureRequests, memorySection, prepareRequests } from './requests.ts';
import type { Plan } from './rounds.ts';
import { createSections, type Sections } from './sections.ts';
import { createBenchDatabase, type Servers, startServers } from './stack.ts';
import { measureStart } from './start.ts';

const root = resolve(import.meta.dirname, '../..');
const options = readOptions(root);
const { isSelected, isMeasured, rounds, seconds, quick, profile } = options;

async function measureAll(lifecycle: Lifecycle, plan: Plan): Promise<Section[]> {
  const { say, keep, folder } = lifecycle;
  await installMissing(say);
  const servers = await startServers(folder, say, keep);
  say(`PostgreSQL and RabbitMQ ${servers.rabbit.version} are ready`);
  const sections = createSections(lifecycle);
  await measureSections(servers, sections, plan);
  if (options.gate) await sections.repeatRegressed(readBaseline());
  return sections.list();
}

async function measureSections(servers: Servers, sections: Sections, plan: Plan): Promise<void> {
  const sizes = quick
    ? { users: 20_000, promotions: 5_000, subscriptions: 20_000 }
    : { users: 100_000, promotions: 10_000, subscriptions: 100_000 };
  const served = await createBenchDatabase(servers, 'served', sizes);
  const bare = await createBenchDatabase(servers, 'bare', sizes);
  plan.say(`generated data: ${JSON.stringify(sizes)}`);
  if (isSelected('gateway')) await sections.add('gateway', () => measureGateway(servers, served, plan));
  if (isSelected('callers')) await sections.add('callers', () => measureCallers(servers, sizes, plan));
  if (isSelected('start')) await sections.add('start', () => measureStart(servers, served, plan));
  if (isSelected('outbox')) await sections.add('outbox', () => measureOutbox(servers, bare, plan));
  if (isSelected('cost')) await sections.add('cost', () => measureCost(servers, sizes, plan));
  if (isSelected('metrics')) await sections.add('metrics', () => measureMetricsCost(servers, sizes, plan));
  if (isSelected('growth')) await sections.add('growth', () => measureGrowth(servers, plan));
  if (isSelected('events')) await sections.add('events', () => measureEvents(servers, plan));
  const names = endpointNames.filter(isSelected);
  if (names.length === 0 && !isSelected('propagation')) return;
  const requests = await prepareRequests(servers, served, bare, profile);
  for (const name of names) await sections.add(name, () => measureRequests(name, requests, plan));
  if (isSelected('propagation')) await sections.add('propagation', () => measurePropagation(requests, plan));
  await sections.add('memory', async () => memorySection(requests));
}

function reportOf(sections: Section[]): Report {
  return {
    at: new Date().toISOString(),
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim(),
    machine: `${availableParallelism()} cores of ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    versions: {
      node: process.versions.node,
      pgbench: versionOf('pgbench', ['--version']),
      wrk: versionOf('wrk', ['-v']),
    },
    ...{ quick, rounds, seconds, sections },
  };
}

/** @returns whether a ratio regressed, or could not be measured */
function printGate(print: Lifecycle['print'], sections: readonly Section[]): boolean {
  const assessments = assess(sections, readBaseline());
  print(`\nCPU time per request as a ratio; the gate allows ${margin} times the baseline of tools/bench/baseline.json`);
  for (const { what, baseline, measured, result } of assessments) {
    print(`  ${result.padEnd(12)}  ${what}: ${measured?.toFixed(2) ?? '-'}, baseline ${baseline}`);
  }
  return assessments.some(({ result }) => result === 'REGRESSED' || result === 'NOT MEASURED');
}

await runLifecycle(async (lifecycle) => {
  const { say, print, keep } = lifecycle;
  const startedAt = performance.now();
  // Registered first, so called last: a service writes its profile when it ends.
  if (profile) keep(async () => print(describeProfiles(profile).join('\n')));
  const plan: Plan = { rounds, seconds, warmUp: quick ? 8_000 : 20_000, quick, isMeasured, say };
  const sections = await measureAll(lifecycle, plan);
  const report = reportOf(sections);
  print(`\n${plainTable(caseTable(sections))}`);
  print(`\n${plainTable(rowTable(sections))}`);
  for (const line of sections.flatMap(({ skipped }) => skipped)) print(`\nNOT MEASURED: ${line}`);
  const failed = sections.flatMap((section) => (section.failed ? [`${section.name}: ${section.failed}`] : []));
  for (const line of failed) print(`\nFAILED: ${line}`);
  if (options.write) writePage(report);
  if (options.baseline) {
    const baseline = { ...readBaseline(), ...measuredRatios(sections) };
    writeFileSync(baselineFile, `${JSON.stringify(baseline, undefined, 2)}\n`);
  }
  const isRegressed = options.gate && printGate(print, sections);
  mkdirSync(dirname(options.jsonFile), { recursive: true });
  writeFileSync(options.jsonFile, `${JSON.stringify(report, undefined, 2)}\n`);
  const duration = Math.round((performance.now() - startedAt) / 1_000);
  print(`\n${report.machine}; ${duration} s. JSON: ${options.jsonFile}`);
  return failed.length > 0 || isRegressed ? 1 : 0;
});
