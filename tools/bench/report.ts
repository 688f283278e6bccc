// The result of a run: table rows, each a ratio or a figure with its goal, and the cases that they were computed from.
import { isNoisy, type Round, type Spread, spread } from './rounds.ts';

/** What a row measures, in the order of the table. docs/performance.md uses the same words. */
const measures = [
  'proxying',
  'requests beside pgbench',
  'requests beside other servers',
  'service CPU',
  'SQL round trips',
  'propagation',
  'outbox drain',
  'projection',
  'data growth',
  'events',
  'cost of outbox and log',
  'cost of callers and limits',
  'cost of metrics',
  'start',
  'memory',
] as const;
type Measure = (typeof measures)[number];

export interface Row {
  measure: Measure;
  /** The two sides of the ratio, or what the figure counts. */
  what: string;
  value: Spread;
  /** The same ratio of CPU time per request. It varies less than `value` where other programs use the machine. */
  cpuRatio?: Spread;
  /** Unit of `value` and of the goal; a ratio has none. */
  unit?: 'ms' | 's' | 'MB';
  goal: { atLeast: number } | { atMost: number };
}

export interface Section {
  name: string;
  rows: Row[];
  cases: Record<string, Round[]>;
  /** What could not be measured on this machine, and why. */
  skipped: string[];
  /** Message of the error that ended the section. */
  failed?: string;
}

export interface Report {
  at: string;
  commit: string;
  machine: string;
  versions: Record<string, string>;
  quick: boolean;
  rounds: number;
  /** Length of a round in seconds. */
  seconds: number;
  sections: Section[];
}

export function isMet({ value, goal }: Row): boolean {
  return 'atLeast' in goal ? value.median >= goal.atLeast : value.median <= goal.atMost;
}

/** @returns the value with its unit, rounded for the table */
export function formatValue(value: number, unit?: Row['unit']): string {
  if (unit === 'MB') return `${value.toFixed(0)} MB`;
  if (unit === 'ms') return `${value.toFixed(value < 10 ? 2 : 1)} ms`;
  if (unit === 's') return `${value.toFixed(2)} s`;
  return value.toFixed(2);
}

export function formatGoal({ goal, unit }: Row): string {
  return 'atLeast' in goal ? `≥ ${formatValue(goal.atLeast, unit)}` : `≤ ${formatValue(goal.atMost, unit)}`;
}

/** All rows, in the order of `measures`. */
export function sortedRows(sections: readonly Section[]): Row[] {
  const rows = sections.flatMap((section) => section.rows);
  return rows.toSorted((a, b) => measures.indexOf(a.measure) - measures.indexOf(b.measure));
}

/** @returns the column heads, then one array of cells for each row */
export function rowTable(sections: readonly Section[]): string[][] {
  return [
    ['measure', 'ratio or figure', 'median', 'min', 'max', 'goal', 'result', 'CPU ratio'],
    ...sortedRows(sections).map((row) => [
      row.measure,
      row.what,
      ...[row.value.median, row.value.min, row.value.max].map((value) => formatValue(value, row.unit)),
      formatGoal(row),
      isMet(row) ? 'met' : 'missed',
      row.cpuRatio ? formatValue(row.cpuRatio.median) : '',
    ]),
  ];
}

/** @returns the column heads, then one array of cells for each case */
export function caseTable(sections: readonly Section[]): string[][] {
  const lines = sections.flatMap(({ cases }) =>
    Object.entries(cases).map(([name, rounds]) => {
      const rate = spread(rounds.map(({ perSecond }) => perSecond));
      const cpu = Object.keys(rounds[0]?.cpu ?? {}).map((component) => {
        return `${component} ${spread(rounds.map((round) => round.cpu[component] ?? 0)).median.toFixed(0)}`;
      });
      const p99 = spread(rounds.map((round) => round.p99)).median;
      const noisy = rounds.filter(isNoisy).length;
      return [
        name,
        rate.median.toFixed(0),
        `${rate.min.toFixed(0)} to ${rate.max.toFixed(0)}`,
        Number.isNaN(p99) ? '' : p99.toFixed(1),
        cpu.join(', '),
        noisy > 0 ? `${noisy} of ${rounds.length}` : '',
      ];
    }),
  );
  return [['case', 'requests per second', 'range', 'p99 in ms', 'CPU per request in µs', 'noisy rounds'], ...lines];
}

/** A table with aligned columns, for the terminal. */
export function plainTable(rows: readonly string[][]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')).join('\n');
}

export function markdownTable(rows: readonly string[][]): string {
  const [heads = [], ...rest] = rows;
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(heads), line(heads.map(() => '---')), ...rest.map(line)].join('\n');
}
