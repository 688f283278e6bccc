// What a run found, for people and for programs.
import type { Check } from './checks.ts';
import { type Attempt, isOpen, isSuccess } from './history.ts';
import { type Recovery, signs } from './recovery.ts';

export interface Report {
  seed: number;
  minutes: number;
  seconds: number;
  requests: number;
  answers: Record<string, Record<string, number>>;
  quietAfterMs: number | undefined;
  recoveries: Recovery[];
  checks: Check[];
  breaches: number;
}

const shown = 10;

export function countAnswers(history: readonly Attempt[]): Report['answers'] {
  const counts: Report['answers'] = {};
  for (const { kind, status } of history) {
    counts[kind] ??= {};
    const answer = status === 0 ? 'none' : String(status);
    counts[kind][answer] = (counts[kind][answer] ?? 0) + 1;
  }
  return counts;
}

export function progressLine(history: readonly Attempt[], secondsBack: number): string {
  const since = Date.now() - secondsBack * 1_000;
  const recent = history.filter(({ ended }) => ended >= since);
  const done = recent.filter(isSuccess).length;
  const open = recent.filter(isOpen).length;
  return `${history.length} requests; last ${secondsBack} s: ${done} done, ${recent.length - done - open} refused, ${open} open`;
}

export function printReport(report: Report, say: (line: string) => void): void {
  printAnswers(report.answers, say);

  say('\nRecovery: milliseconds from the fault (or its end) to the first write of each kind that succeeded, and until');
  say('subscriptions were in step again (a status change answered with `Promopulse-Projection: applied`)');
  const recoveries = report.recoveries.map(({ fault, target, holdMs, after, open, requests }) => [
    fault,
    target,
    holdMs > 0 ? (holdMs / 1_000).toFixed(1) : '',
    ...signs.map((sign) => String(after[sign] ?? '-')),
    `${open}/${requests}`,
  ]);
  const heads = ['fault', 'target', 'held s', ...signs, 'open'];
  for (const line of table(heads, recoveries, 2)) say(line);

  printChecks(report.checks, say);
  const verdict = report.breaches === 0 ? 'every promise kept' : `${report.breaches} breaches`;
  const quiet = report.quietAfterMs === undefined ? 'never quiet' : `quiet ${report.quietAfterMs} ms after the load`;
  say(
    `\nSeed ${report.seed}, ${Math.round(report.seconds)} s, ${report.recoveries.length} faults, ${report.requests} requests, ${quiet}: ${verdict}`,
  );
}

export function printChecks(checks: readonly Check[], say: (line: string) => void): void {
  say('\nPromises');
  for (const { promise, looked, breaches } of checks) {
    say(`${breaches.length === 0 ? 'kept  ' : 'BROKEN'}  ${promise} (${looked})`);
    for (const breach of breaches.slice(0, shown)) say(`          ${breach}`);
    if (breaches.length > shown) say(`          … and ${breaches.length - shown} more`);
  }
}

export function printAnswers(answers: Report['answers'], say: (line: string) => void): void {
  say('\nAnswers');
  const statuses = [...new Set(Object.values(answers).flatMap((counts) => Object.keys(counts)))].sort();
  const rows = Object.entries(answers).map(([kind, counts]) => [
    kind,
    ...statuses.map((status) => String(counts[status] ?? '')),
  ]);
  for (const line of table(['request', ...statuses], rows)) say(line);
}

/** The first columns are words, the others numbers. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[], wordy = 1): string[] {
  const widths = heads.map((head, column) => Math.max(head.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column < wordy ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ');
  return [line(heads), ...rows.map(line)];
}
