// What CI holds: the CPU time of our processes per request, as a ratio to that of a known program which does the same
// in the same run, so that the machine does not matter; against ratios kept in baseline.json, with a wide margin.
import { readFileSync } from 'node:fs';
import type { Section } from './report.ts';
import type { Round } from './rounds.ts';

/** A request may cost so many times its baseline. */
export const margin = 1.5;
export const baselineFile = new URL('baseline.json', import.meta.url);

interface Measure {
  section: string;
  ours: [name: string, component: string];
  theirs: [name: string, component: string];
}

const measures: Record<string, Measure> = {
  'GET: gateway / nginx': {
    section: 'gateway',
    ours: ['proxy get gateway', 'proxy'],
    theirs: ['proxy get nginx', 'proxy'],
  },
  'POST: gateway / nginx': {
    section: 'gateway',
    ours: ['proxy post gateway', 'proxy'],
    theirs: ['proxy post nginx', 'proxy'],
  },
  'POST /subscriptions: service / Express + pg': {
    section: 'post',
    ours: ['post direct', 'subscriptions'],
    theirs: ['post Express', 'peer'],
  },
  'GET /promotions/{id}: service / Express + pg': {
    section: 'get',
    ours: ['get direct', 'promotions'],
    theirs: ['get Express', 'peer'],
  },
  'GET /subscriptions: service / Express + pg': {
    section: 'list',
    ours: ['list direct', 'subscriptions'],
    theirs: ['list Express', 'peer'],
  },
};

/** The cheapest round of each side: others on the machine make a request dearer, never cheaper. */
export function costs(sections: readonly Section[]): Record<string, number> {
  const rounds = Object.assign({}, ...sections.map(({ cases }) => cases)) as Record<string, Round[]>;
  const least = ([name, component]: [string, string]): number =>
    Math.min(...(rounds[name] ?? []).map(({ cpu }) => cpu[component] ?? Number.NaN));
  return Object.fromEntries(
    Object.entries(measures).flatMap(([what, { ours, theirs }]) => {
      const cost = least(ours) / least(theirs);
      return Number.isFinite(cost) ? [[what, Math.round(cost * 100) / 100]] : [];
    }),
  );
}

export interface Verdict {
  what: string;
  section: string;
  baseline: number;
  /** Undefined when it was not measured. */
  cost: number | undefined;
  verdict: 'ok' | 'DEARER' | 'NOT MEASURED' | 'not asked for';
}

export function judge(sections: readonly Section[], baseline: Record<string, number>): Verdict[] {
  const measured = costs(sections);
  return Object.entries(measures).map(([what, { section }]) => {
    const [kept = Number.NaN, cost] = [baseline[what], measured[what]];
    const asked = sections.some(({ name }) => name === section);
    const judged = cost !== undefined && cost <= kept * margin ? 'ok' : 'DEARER';
    const verdict = cost === undefined ? (asked ? 'NOT MEASURED' : 'not asked for') : judged;
    return { what, section, baseline: kept, cost, verdict };
  });
}

export function readBaseline(): Record<string, number> {
  return JSON.parse(readFileSync(baselineFile, 'utf8'));
}
