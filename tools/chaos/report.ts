// The report of a run, as text. The same data are written as JSON.
import type { Check } from './check.ts';
import { type Attempt, isSuccess, isUnanswered } from './history.ts';
import { type Recovery, recoverySigns } from './recovery.ts';

type Print = (line: string) => void;

export interface Report {
  seed: number;
  /** AUTH=required. */
  asksCallers: boolean;
  /** The minimum that was requested. */
  minutes: number;
  /** The whole run. */
  seconds: number;
  requests: number;
  responses: ResponseCounts;
  /** Undefined: not within the time limit. */
  quietAfterMs: number | undefined;
  recoveries: Recovery[];
  checks: Check[];
  breaches: number;
}

/** Kind of request → status (`none`: no response) → count. */
type ResponseCounts = Record<string, Record<string, number>>;

const maxPrintedBreaches = 10;

export function countResponses(history: readonly Attempt[]): ResponseCounts {
  const counts: ResponseCounts = {};
  for (const attempt of history) {
    const status = attempt.status === 0 ? 'none' : String(attempt.status);
    counts[attempt.kind] ??= {};
    const ofKind = counts[attempt.kind] as Record<string, number>;
    ofKind[status] = (ofKind[status] ?? 0) + 1;
  }
  return counts;
}

export function countBreaches(checks: readonly Check[]): number {
  return checks.reduce((sum, { breaches }) => sum + breaches.length, 0);
}

export function progressLine(history: readonly Attempt[], lastSeconds: number): string {
  const since = Date.now() - lastSeconds * 1_000;
  const recent = history.filter(({ endedAt }) => endedAt >= since);
  const succeeded = recent.filter(isSuccess).length;
  const unknown = recent.filter(isUnanswered).length;
  const rejected = recent.length - succeeded - unknown;
  return `${history.length} requests; last ${lastSeconds} s: ${succeeded} succeeded, ${rejected} rejected, ${unknown} unknown`;
}

export function printReport(report: Report, print: Print): void {
  printResponses(report.responses, print);
  printRecoveries(report.recoveries, print);
  printChecks(report.checks, print);
  const result = report.breaches === 0 ? 'every promise kept' : `${report.breaches} breaches`;
  const quiet = report.quietAfterMs === undefined ? 'never quiet' : `quiet ${report.quietAfterMs} ms after the load`;
  const size = `${Math.round(report.seconds)} s, ${report.recoveries.length} faults, ${report.requests} requests`;
  print(`\nSeed ${report.seed}, ${size}, ${quiet}: ${result}`);
}

function printRecoveries(recoveries: readonly Recovery[], print: Print): void {
  print(
    '\nRecovery: milliseconds from the fault, or from its end, to the first write of each kind that succeeded, and',
  );
  print('to the first status change answered with `Promopulse-Projection: applied`. Last column: requests');
  print('without an answer (no response, 503 or 504) of all requests until then.');
  const rows = recoveries.map(({ fault, target, holdMs, afterMs, unknown, requests }) => [
    fault,
    target,
    holdMs > 0 ? (holdMs / 1_000).toFixed(1) : '',
    ...recoverySigns.map((sign) => String(afterMs[sign] ?? '-')),
    `${unknown}/${requests}`,
  ]);
  const heads = ['fault', 'target', 'held s', ...recoverySigns, 'unknown'];
  for (const line of table(heads, rows, 2)) print(line);
}

export function printChecks(checks: readonly Check[], print: Print): void {
  print('\nPromises, and what was examined for each');
  for (const { promise, examined, breaches } of checks) {
    print(`${breaches.length === 0 ? 'kept  ' : 'BROKEN'}  ${promise} (${examined})`);
    for (const breach of breaches.slice(0, maxPrintedBreaches)) print(`          ${breach}`);
    if (breaches.length > maxPrintedBreaches) print(`          … and ${breaches.length - maxPrintedBreaches} more`);
  }
}

export function printResponses(counts: ResponseCounts, print: Print): void {
  print('\nResponses');
  const statuses = [...new Set(Object.values(counts).flatMap((ofKind) => Object.keys(ofKind)))].sort();
  const rows = Object.entries(counts).map(([kind, ofKind]) => [
    kind,
    ...statuses.map((status) => String(ofKind[status] ?? '')),
  ]);
  for (const line of table(['request', ...statuses], rows)) print(line);
}

/** @param textColumns how many of the first columns are text, aligned left; the others are numbers, aligned right */
export function table(heads: readonly string[], rows: readonly (readonly string[])[], textColumns = 1): string[] {
  const widths = heads.map((head, column) => Math.max(head.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const align = (cell: string, column: number): string =>
    column < textColumns ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
  return [heads, ...rows].map((cells) => cells.map(align).join('  '));
}
