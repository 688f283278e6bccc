// Which fault strikes when: all of it follows from the seed, and is known before the first one.
import { faults, type Strike } from './faults.ts';
import type { Random } from './random.ts';

export interface Plan {
  /** Every fault at least once, in an order of the seed's. */
  required: Strike[];
  /** What comes next for as long as there is time. */
  further(): Strike;
}

const faultNames: readonly string[] = faults.map(({ name }) => name);

/** @param only a fault's name, or the beginning of several */
export function makePlan(random: Random, only: string | undefined): Plan {
  const wanted = faults.filter(({ name }) => only === undefined || name === only || name.startsWith(`${only}-`));
  if (wanted.length === 0) throw new Error(`--only takes one of ${faultNames.join(', ')}`);
  const strike = (fault: (typeof wanted)[number], target: string): Strike => ({
    fault: fault.name,
    target,
    holdMs: random.between(...fault.hold),
  });
  const required = random.shuffled(
    wanted.flatMap((fault) => {
      const others = fault.targets.filter((target) => !fault.always.includes(target));
      const targets = others.length > 0 ? [...fault.always, random.pick(others)] : fault.always;
      return targets.map((target) => strike(fault, target));
    }),
  );
  const further = (): Strike => {
    const fault = random.pick(wanted);
    return strike(fault, random.pick(fault.targets));
  };
  return { required, further };
}
