// The check of CI: the CPU time of our processes per request, divided by that of a known program in the same run. So the
// speed of the machine cancels out. The ratios are compared with those in baseline.json.
import { readFileSync } from 'node:fs';
import type { Section } from './report.ts';
import type { Round } from './rounds.ts';

/** A ratio may exceed its baseline by this factor. */
export const margin = 1.5;
export const baselineFile = new URL('baseline.json', import.meta.url);

/** A case, and the component of it whose CPU time counts. */
type Measured = [caseName: string, component: string];

interface GatedRatio {
  section: string;
  ours: Measured;
  reference: Measured;
}

const gatedRatios: Record<string, GatedRatio> = {
  'GET: gateway / undici': besideUndici('get'),
  'POST: gateway / undici': besideUndici('post'),
  'POST /subscriptions: service / Express + pg': besideExpress('post', 'subscriptions'),
  'GET /promotions/{id}: service / Express + pg': besideExpress('get', 'promotions'),
  'GET /subscriptions: service / Express + pg': besideExpress('list', 'subscriptions'),
  'POST /users: service / Express + pg': besideExpress('create-user', 'users'),
  'POST /promotions: service / Express + pg': besideExpress('create-promotion', 'promotions'),
  'GET /users/{id}: service / Express + pg': besideExpress('get-user', 'users'),
  'GET /users?email=: service / Express + pg': besideExpress('find-user', 'users'),
};

/** Not nginx: on a busy machine a program in Node slows down more than nginx does, so that ratio follows the machine. */
function besideUndici(method: string): GatedRatio {
  return {
    section: 'gateway',
    ours: [`proxy ${method} gateway`, 'proxy'],
    reference: [`proxy ${method} undici`, 'proxy'],
  };
}

function besideExpress(section: string, service: string): GatedRatio {
  return { section, ours: [`${section} direct`, service], reference: [`${section} Express`, 'peer'] };
}

/** What the gate compares: `--gate` measures nothing else. */
export const gatedSections = new Set(Object.values(gatedRatios).map(({ section }) => section));
export const gatedCases = new Set(Object.values(gatedRatios).flatMap(({ ours, reference }) => [ours[0], reference[0]]));

/** @returns the ratios that were measured; of each side the cheapest round, because disturbance only adds CPU time */
export function measuredRatios(sections: readonly Section[]): Record<string, number> {
  const rounds = Object.assign({}, ...sections.map(({ cases }) => cases)) as Record<string, Round[]>;
  const minCpu = ([caseName, component]: Measured): number =>
    Math.min(...(rounds[caseName] ?? []).map(({ cpu }) => cpu[component] ?? Number.NaN));
  return Object.fromEntries(
    Object.entries(gatedRatios).flatMap(([what, { ours, reference }]) => {
      const measured = minCpu(ours) / minCpu(reference);
      return Number.isFinite(measured) ? [[what, Math.round(measured * 100) / 100]] : [];
    }),
  );
}

export interface Assessment {
  what: string;
  section: string;
  /** NaN when baseline.json has none. */
  baseline: number;
  /** Undefined when it was not measured. */
  measured: number | undefined;
  result: 'ok' | 'REGRESSED' | 'NOT MEASURED' | 'not selected';
}

/** Compares every gated ratio with its baseline. A ratio without a baseline counts as regressed. */
export function assess(sections: readonly Section[], baselines: Record<string, number>): Assessment[] {
  const ratios = measuredRatios(sections);
  return Object.entries(gatedRatios).map(([what, { section }]) => {
    const [baseline = Number.NaN, measured] = [baselines[what], ratios[what]];
    const isSelected = sections.some(({ name }) => name === section);
    const compared = measured !== undefined && measured <= baseline * margin ? 'ok' : 'REGRESSED';
    const result = measured === undefined ? (isSelected ? 'NOT MEASURED' : 'not selected') : compared;
    return { what, section, baseline, measured, result };
  });
}

export function readBaseline(): Record<string, number> {
  return JSON.parse(readFileSync(baselineFile, 'utf8'));
}
