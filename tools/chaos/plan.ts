// Which fault strikes when: all of it follows from the seed, and is known before the first one.
import { faults, pairable, type Strike } from './faults.ts';
import type { Random } from './random.ts';

export interface Plan {
  /** Every fault at least once, in an order of the seed's. */
  required: Strike[];
  /** What comes next for as long as there is time. */
  further(): Strike;
}

interface Wishes {
  /** A fault's name, or the beginning of several. */
  only?: string | undefined;
  /** Every fault on one target only, and for the shortest time. */
  short?: boolean | undefined;
}

type Fault = (typeof faults)[number];

/** @throws when there is no fault of the wanted name */
export function makePlan(random: Random, { only, short = false }: Wishes): Plan {
  const wanted = faults.filter(({ name }) => only === undefined || name === only || name.startsWith(`${only}-`));
  if (wanted.length === 0) throw new Error(`--only takes one of ${faults.map(({ name }) => name).join(', ')}`);
  const single = (fault: Fault, target: string): Strike => ({
    fault: fault.name,
    target,
    holdMs: short ? fault.hold[0] : random.between(...fault.hold),
  });
  const pair = (): Strike => {
    const parts = random
      .shuffled(pairable)
      .slice(0, 2)
      .map((names) => {
        const picked = random.pick(names);
        const fault = faults.find(({ name }) => name === picked) as Fault;
        return single(fault, random.pick(fault.targets));
      }) as [Strike, Strike];
    const target = parts.map(({ fault, target: of }) => `${fault} ${of}`).join(' + ');
    return { fault: 'pair', target, holdMs: Math.max(...parts.map(({ holdMs }) => holdMs)), parts };
  };
  const strike = (fault: Fault, target: string): Strike => (fault.name === 'pair' ? pair() : single(fault, target));
  const targetsOf = ({ targets, always }: Fault): readonly string[] => {
    if (short) return [random.pick(always.length > 0 ? always : targets)];
    const others = targets.filter((target) => !always.includes(target));
    return others.length > 0 ? [...always, random.pick(others)] : always;
  };
  const required = random.shuffled(wanted.flatMap((fault) => targetsOf(fault).map((target) => strike(fault, target))));
  const further = (): Strike => {
    const fault = random.pick(wanted);
    return strike(fault, random.pick(fault.targets));
  };
  return { required, further };
}
