// Interleaved rounds: A, B, C, A, B, C, … so that other load on the machine affects all cases alike. A case is measured
// by its requests per second and by the CPU time of each component per request. A round that other processes disturbed
// is marked as noisy and run once more.
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuOfTrees, machineCpu } from './processes.ts';

/** Result of a load generator. */
export interface Load {
  perSecond: number;
  /** Number of requests. */
  count: number;
  /** Percentiles of the latency, in milliseconds; NaN where it is not measured. */
  p50: number;
  p99: number;
}

export interface Case {
  name: string;
  /** @returns process ids by the name of the component; a process includes all its descendants */
  components(): Record<string, number>;
  /** Runs before each round, outside the measured time. */
  prepare?(): Promise<void>;
  run(seconds: number): Promise<Load>;
}

export interface Round extends Load {
  /** CPU time per request in microseconds, by component. `load` is the load generator and this program. */
  cpu: Record<string, number>;
  /** Share of the machine's CPU time that processes outside this run used. */
  otherProcesses: number;
  /** Share of the machine's CPU time that the hypervisor gave to others: `steal` in proc(5). */
  steal: number;
}

export interface Plan {
  rounds: number;
  /** Length of a round in seconds. */
  seconds: number;
  /** Number of requests of each case before the first round, so that V8 has compiled the hot code. */
  warmUp: number;
  /** Uses less data, and does not repeat noisy rounds. */
  quick: boolean;
  /** Whether a case is measured; the gate leaves those out that it does not compare. */
  isMeasured(caseName: string): boolean;
  say(line: string): void;
}

const noisyAbove = { otherProcesses: 0.15, steal: 0.1 };

export function isNoisy({ otherProcesses, steal }: Pick<Round, 'otherProcesses' | 'steal'>): boolean {
  return otherProcesses > noisyAbove.otherProcesses || steal > noisyAbove.steal;
}

/** @returns the rounds by the name of their case, of each case that is measured */
export async function interleave(all: readonly Case[], plan: Plan): Promise<Record<string, Round[]>> {
  const cases = all.filter(({ name }) => plan.isMeasured(name));
  const results: Record<string, Round[]> = Object.fromEntries(cases.map(({ name }) => [name, []]));
  for (const each of cases) {
    await each.prepare?.();
    for (let count = 0, runs = 0; count < plan.warmUp && runs < 10; runs += 1) count += (await each.run(1)).count;
  }
  for (let number = 1; number <= plan.rounds; number += 1) {
    for (const each of cases) {
      const round = await runRound(each, plan);
      results[each.name]?.push(round);
      plan.say(`round ${number}/${plan.rounds}  ${describe(each.name, round)}`);
    }
  }
  return results;
}

/** Runs a round. Repeats a noisy one, unless the run is quick, and returns the quieter of the two. */
async function runRound(each: Case, plan: Plan): Promise<Round> {
  const first = await measure(each, plan.seconds);
  if (plan.quick || !isNoisy(first)) return first;
  await waitUntilQuiet();
  const second = await measure(each, plan.seconds);
  return second.otherProcesses + second.steal < first.otherProcesses + first.steal ? second : first;
}

async function measure(each: Case, seconds: number): Promise<Round> {
  await each.prepare?.();
  const components = each.components();
  const pids = [...Object.values(components), process.pid];
  const [machineBefore, cpuBefore] = [machineCpu(), cpuOfTrees(pids)];
  const load = await each.run(seconds);
  const [machineAfter, cpuAfter] = [machineCpu(), cpuOfTrees(pids)];
  const used = cpuAfter.map((after, index) => after - (cpuBefore[index] ?? 0));
  // This process started all the others, so its tree includes theirs.
  const usedInAll = used.pop() ?? 0;
  const usedByComponents = used.reduce((sum, part) => sum + part, 0);
  const total = machineAfter.total - machineBefore.total;
  const perRequest = (microseconds: number): number => microseconds / Math.max(1, load.count);
  return {
    ...load,
    cpu: {
      ...Object.fromEntries(Object.keys(components).map((name, index) => [name, perRequest(used[index] ?? 0)])),
      load: perRequest(Math.max(0, usedInAll - usedByComponents)),
    },
    otherProcesses: Math.max(0, machineAfter.busy - machineBefore.busy - usedInAll) / total,
    steal: (machineAfter.steal - machineBefore.steal) / total,
  };
}

/** Waits until the machine is less than 12 % busy for half a second, but at most 7 s. */
async function waitUntilQuiet(): Promise<void> {
  const deadline = Date.now() + 7_000;
  while (Date.now() < deadline) {
    const before = machineCpu();
    await sleep(500);
    const after = machineCpu();
    if ((after.busy - before.busy) / (after.total - before.total) < 0.12) return;
  }
}

function describe(name: string, { perSecond, cpu, otherProcesses, steal }: Round): string {
  const parts = Object.entries(cpu).map(([component, used]) => `${component} ${used.toFixed(0)}`);
  const noise = `other processes ${(otherProcesses * 100).toFixed(0)} %, steal ${(steal * 100).toFixed(0)} %`;
  return `${name.padEnd(28)} ${perSecond.toFixed(0).padStart(7)}/s  CPU µs: ${parts.join(', ')}  (${noise})`;
}

export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** @throws when there are no values */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new Error('there are no values');
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const low = sorted[Math.floor(middle)] as number;
  const high = sorted[Math.ceil(middle)] as number;
  return { median: (low + high) / 2, min: sorted[0] as number, max: sorted.at(-1) as number };
}

/** Divides round by round, so that a slow moment of the machine affects both sides of the ratio. */
export function ratio(
  above: readonly Round[] | undefined,
  below: readonly Round[] | undefined,
  of: (round: Round) => number = ({ perSecond }) => perSecond,
): Spread {
  return spread((above ?? []).map((round, index) => of(round) / of((below ?? [])[index] as Round)));
}

/** CPU time per request of all components and the load generator, in microseconds. It limits a fully loaded machine. */
export function totalCpu({ cpu }: Round): number {
  return Object.values(cpu).reduce((sum, part) => sum + part, 0);
}
