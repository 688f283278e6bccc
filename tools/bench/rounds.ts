// Interleaved rounds: A, B, C, A, B, C, … so that whatever else the machine does falls on all of them alike. Each
// case is weighed by what it got done per second and by the CPU time of every component per request; a round in which
// others used the machine is noted, and run once more.
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuOfTrees, machine } from './processes.ts';

/** What a load generator did. */
export interface Load {
  perSecond: number;
  count: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
}

export interface Case {
  name: string;
  /** Process → component. A process counts with everything it has started. */
  components(): Record<string, number>;
  /** Before each round, outside of what is measured. */
  prepare?(): Promise<void>;
  run(seconds: number): Promise<Load>;
}

export interface Round extends Load {
  /** Microseconds of CPU per request by component; `load` is the generator with this program itself. */
  cpu: Record<string, number>;
  /** Shares of the whole machine that went to processes not ours, and to the hypervisor. */
  foreign: number;
  stolen: number;
}

export interface Plan {
  rounds: number;
  seconds: number;
  /** Requests of each case before the first round, so that what compiles itself while it runs has done so. */
  warmUp: number;
  /** Whether to wait for a quiet moment, and to repeat a round that was disturbed. */
  repeat: boolean;
  say(line: string): void;
}

const noisyFrom = { foreign: 0.15, stolen: 0.1 };

export function isNoisy({ foreign, stolen }: Pick<Round, 'foreign' | 'stolen'>): boolean {
  return foreign > noisyFrom.foreign || stolen > noisyFrom.stolen;
}

/** @returns the rounds by the name of their case */
export async function interleave(cases: readonly Case[], plan: Plan): Promise<Record<string, Round[]>> {
  const results: Record<string, Round[]> = Object.fromEntries(cases.map(({ name }) => [name, []]));
  for (const each of cases) {
    await each.prepare?.();
    for (let count = 0, tries = 0; count < plan.warmUp && tries < 10; tries += 1) count += (await each.run(1)).count;
  }
  for (let number = 1; number <= plan.rounds; number += 1) {
    for (const each of cases) {
      const round = await quietest(each, plan);
      results[each.name]?.push(round);
      plan.say(`round ${number}/${plan.rounds}  ${describe(each.name, round)}`);
    }
  }
  return results;
}

async function quietest(each: Case, plan: Plan): Promise<Round> {
  const first = await measure(each, plan.seconds);
  if (!plan.repeat || !isNoisy(first)) return first;
  await quietMoment();
  const second = await measure(each, plan.seconds);
  return second.foreign + second.stolen < first.foreign + first.stolen ? second : first;
}

async function measure(each: Case, seconds: number): Promise<Round> {
  await each.prepare?.();
  const components = each.components();
  const pids = [...Object.values(components), process.pid];
  const [machineBefore, cpuBefore] = [machine(), cpuOfTrees(pids)];
  const load = await each.run(seconds);
  const [machineAfter, cpuAfter] = [machine(), cpuOfTrees(pids)];
  const spent = cpuAfter.map((after, index) => after - (cpuBefore[index] ?? 0));
  const ours = spent.pop() ?? 0;
  const named = spent.reduce((sum, part) => sum + part, 0);
  const total = machineAfter.total - machineBefore.total;
  const perRequest = (microseconds: number): number => microseconds / Math.max(1, load.count);
  return {
    ...load,
    cpu: {
      ...Object.fromEntries(Object.keys(components).map((name, index) => [name, perRequest(spent[index] ?? 0)])),
      load: perRequest(Math.max(0, ours - named)),
    },
    foreign: Math.max(0, machineAfter.busy - machineBefore.busy - ours) / total,
    stolen: (machineAfter.stolen - machineBefore.stolen) / total,
  };
}

/** Until others leave most of the machine alone for a moment; gives up after 7 s. */
async function quietMoment(): Promise<void> {
  const deadline = Date.now() + 7_000;
  while (Date.now() < deadline) {
    const before = machine();
    await sleep(500);
    const after = machine();
    if ((after.busy - before.busy) / (after.total - before.total) < 0.12) return;
  }
}

function describe(name: string, { perSecond, cpu, foreign, stolen }: Round): string {
  const parts = Object.entries(cpu).map(([component, used]) => `${component} ${used.toFixed(0)}`);
  const noise = `foreign ${(foreign * 100).toFixed(0)} %, stolen ${(stolen * 100).toFixed(0)} %`;
  return `${name.padEnd(28)} ${perSecond.toFixed(0).padStart(7)}/s  CPU µs: ${parts.join(', ')}  (${noise})`;
}

export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** @throws when there are no values */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new Error('nothing was measured');
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const low = sorted[Math.floor(middle)] as number;
  const high = sorted[Math.ceil(middle)] as number;
  return { median: (low + high) / 2, min: sorted[0] as number, max: sorted.at(-1) as number };
}

/** Round by round, so that a slow moment of the machine weighs on both sides. */
export function ratio(
  above: readonly Round[] | undefined,
  below: readonly Round[] | undefined,
  of: (round: Round) => number = ({ perSecond }) => perSecond,
): Spread {
  return spread((above ?? []).map((round, index) => of(round) / of((below ?? [])[index] as Round)));
}

/** Microseconds of CPU per request of all components and the load generator: what a machine that is full divides by. */
export function wholeCpu({ cpu }: Round): number {
  return Object.values(cpu).reduce((sum, part) => sum + part, 0);
}
