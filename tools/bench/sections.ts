// The sections of a run as they are measured. A failed section does not end the run; one above the gate is measured again.
import type { Lifecycle } from '../../local/lifecycle.ts';
import { assess } from './gate.ts';
import type { Section } from './report.ts';

export interface Sections {
  list(): Section[];
  /** Measures a section. An error becomes its result, unless the run is being stopped. */
  add(name: string, measure: () => Promise<Section>): Promise<void>;
  /**
   * Measures each section with a regressed ratio once more, and keeps the rounds of both measurements: other load can
   * have disturbed either.
   */
  repeatRegressed(baselines: Record<string, number>): Promise<void>;
}

export function createSections({ say, isStopping }: Pick<Lifecycle, 'say' | 'isStopping'>): Sections {
  const results = new Map<string, { section: Section; measure: () => Promise<Section> }>();
  const list = (): Section[] => [...results.values()].map(({ section }) => section);

  async function add(name: string, measure: () => Promise<Section>): Promise<void> {
    try {
      results.set(name, { section: await measure(), measure });
    } catch (error) {
      if (isStopping()) throw error;
      say(`${name} failed: ${(error as Error).stack}`);
      const section = { name, rows: [], cases: {}, skipped: [], failed: (error as Error).message };
      results.set(name, { section, measure });
    }
  }

  async function repeatRegressed(baselines: Record<string, number>): Promise<void> {
    const regressed = assess(list(), baselines).filter(({ result }) => result === 'REGRESSED');
    for (const name of new Set(regressed.map(({ section }) => section))) {
      say(`${name} costs more than the gate allows: measuring it again`);
      const first = results.get(name);
      if (first) await add(name, async () => withRoundsOf(first.section, await first.measure()));
    }
  }

  return { list, add, repeatRegressed };
}

function withRoundsOf(first: Section, second: Section): Section {
  const cases = Object.entries(second.cases).map(([name, rounds]) => [name, [...(first.cases[name] ?? []), ...rounds]]);
  return { ...second, cases: Object.fromEntries(cases) };
}
