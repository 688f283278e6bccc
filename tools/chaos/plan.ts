// The plan of a run: which fault is injected when. The seed decides all of it before the first injection.

import type { Random } from '../../local/random.ts';
import { type Fault, faults, pairable } from './faults.ts';
import type { Injection } from './injection.ts';

export interface Plan {
  /** Every fault at least once, shuffled. */
  required: Injection[];
  /** The next injection after the required ones, for as long as there is time. */
  further(): Injection;
}

interface PlanOptions {
  /** The name of a fault, or the first word of several, such as `cut`. */
  only?: string | undefined;
  /** Every fault on one target only, and for its shortest duration. */
  short?: boolean | undefined;
}

/** @throws Error when no fault has the name `only` */
export function makePlan(random: Random, { only, short = false }: PlanOptions): Plan {
  const selected = faults.filter(({ name }) => only === undefined || name === only || name.startsWith(`${only}-`));
  if (selected.length === 0) throw new Error(`--only takes one of ${faults.map(({ name }) => name).join(', ')}`);
  const single = (fault: Fault, target: string): Injection => ({
    fault: fault.name,
    target,
    holdMs: short ? fault.hold[0] : random.between(...fault.hold),
  });
  const pair = (): Injection => {
    const parts = random
      .shuffled(pairable)
      .slice(0, 2)
      .map((names) => {
        const picked = random.pick(names);
        const fault = faults.find(({ name }) => name === picked) as Fault;
        return single(fault, random.pick(fault.targets));
      }) as [Injection, Injection];
    const target = parts.map((part) => `${part.fault} ${part.target}`).join(' + ');
    return { fault: 'pair', target, holdMs: Math.max(...parts.map(({ holdMs }) => holdMs)), parts };
  };
  const injection = (fault: Fault, target: string): Injection =>
    fault.name === 'pair' ? pair() : single(fault, target);
  const targetsOf = ({ targets, always }: Fault): readonly string[] => {
    if (short) return [random.pick(always.length > 0 ? always : targets)];
    const others = targets.filter((target) => !always.includes(target));
    return others.length > 0 ? [...always, random.pick(others)] : always;
  };
  const injections = selected.flatMap((fault) => targetsOf(fault).map((target) => injection(fault, target)));
  const further = (): Injection => {
    const fault = random.pick(selected);
    return injection(fault, random.pick(fault.targets));
  };
  return { required: random.shuffled(injections), further };
}
