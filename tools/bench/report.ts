// What a run found: rows of the table, each a ratio with its goal, and the cases they come from.
import { isNoisy, type Round, type Spread, spread } from './rounds.ts';

export interface Row {
  /** Number in the table of docs/performance.md. */
  row: number;
  what: string;
  value: Spread;
  /** The same ratio of the CPU time per request: steadier than `value` where others use the machine. */
  byCpu?: Spread;
  /** How `value` is shown: a plain ratio by default. */
  unit?: 'ms' | 's' | 'MB';
  goal: { atLeast: number } | { atMost: number };
  /** Said of it in the table. */
  note?: string;
}

export interface Section {
  name: string;
  rows: Row[];
  cases: Record<string, Round[]>;
  /** What could not be measured here, and why. */
  skipped: string[];
  /** Why it came to nothing. */
  failed?: string;
}

export interface Report {
  at: string;
  commit: string;
  machine: string;
  versions: Record<string, string>;
  quick: boolean;
  rounds: number;
  seconds: number;
  sections: Section[];
}

export function isMet({ value, goal }: Row): boolean {
  return 'atLeast' in goal ? value.median >= goal.atLeast : value.median <= goal.atMost;
}

export function shown(value: number, unit?: Row['unit']): string {
  if (unit === 'MB') return `${value.toFixed(0)} MB`;
  if (unit === 'ms') return `${value.toFixed(1)} ms`;
  if (unit === 's') return `${value.toFixed(2)} s`;
  return value.toFixed(2);
}

export function goalText({ goal, unit }: Row): string {
  return 'atLeast' in goal ? `≥ ${shown(goal.atLeast, unit)}` : `≤ ${shown(goal.atMost, unit)}`;
}

/** Column heads and cells of the two tables, as text. */
export function rowTable(sections: readonly Section[]): string[][] {
  const rows = sections.flatMap((section) => section.rows).toSorted((a, b) => a.row - b.row);
  return [
    ['#', 'ratio', 'median', 'min', 'max', 'goal', '', 'by CPU'],
    ...rows.map((row) => [
      String(row.row),
      row.note ? `${row.what} (${row.note})` : row.what,
      ...[row.value.median, row.value.min, row.value.max].map((value) => shown(value, row.unit)),
      goalText(row),
      isMet(row) ? 'met' : 'missed',
      row.byCpu ? shown(row.byCpu.median) : '',
    ]),
  ];
}

export function caseTable(sections: readonly Section[]): string[][] {
  const lines = sections.flatMap(({ cases }) =>
    Object.entries(cases).map(([name, rounds]) => {
      const rate = spread(rounds.map(({ perSecond }) => perSecond));
      const cpu = Object.keys(rounds[0]?.cpu ?? {}).map((component) => {
        return `${component} ${spread(rounds.map((round) => round.cpu[component] ?? 0)).median.toFixed(0)}`;
      });
      const late = spread(rounds.map(({ p99 }) => p99)).median;
      const noisy = rounds.filter(isNoisy).length;
      return [
        name,
        rate.median.toFixed(0),
        `${rate.min.toFixed(0)} to ${rate.max.toFixed(0)}`,
        Number.isNaN(late) ? '' : late.toFixed(1),
        cpu.join(', '),
        noisy > 0 ? `${noisy} of ${rounds.length}` : '',
      ];
    }),
  );
  return [['case', 'per second', 'from to', 'p99 ms', 'CPU µs per request', 'noisy rounds'], ...lines];
}

export function plainTable(rows: readonly string[][]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')).join('\n');
}

export function markdownTable(rows: readonly string[][]): string {
  const [heads = [], ...rest] = rows;
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(heads), line(heads.map(() => '---')), ...rest.map(line)].join('\n');
}
