// Puts a run into docs/performance.md, between the markers there, with its chart and its JSON beside it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { chartOf } from './chart.ts';
import { caseTable, markdownTable, type Report, rowTable } from './report.ts';

const folder = resolve(import.meta.dirname, '../..', 'docs');

/** @throws when a marker is missing */
export function writePage(report: Report): void {
  const file = join(folder, 'performance.md');
  const rows = report.sections.flatMap((section) => section.rows).toSorted((a, b) => a.row - b.row);
  const told = rows.filter(({ what }) => !what.includes('round trips'));
  const how = `${report.quick ? 'A quick look only: ' : ''}${report.rounds} rounds of ${report.seconds} s on ${report.machine}, ${report.at.slice(0, 10)}, commit ${report.commit}`;
  writeFileSync(join(folder, 'performance.svg'), chartOf(told, how));
  writeFileSync(join(folder, 'performance.json'), `${JSON.stringify(report, undefined, 2)}\n`);
  const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`);
  const missing = report.sections.flatMap(({ skipped, failed }) => [...skipped, ...(failed ? [failed] : [])]);
  const text = [readFileSync(file, 'utf8')]
    .map((page) =>
      between(
        page,
        'run',
        `${how}; ${versions.join(', ')}.${missing.map((line) => ` Not measured: ${line}.`).join('')}`,
      ),
    )
    .map((page) => between(page, 'rows', markdownTable(rowTable(report.sections))))
    .map((page) => between(page, 'cases', markdownTable(caseTable(report.sections))))
    .join('');
  writeFileSync(file, text);
}

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->`. */
function between(page: string, name: string, text: string): string {
  const [before, after] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [page.indexOf(before), page.indexOf(after)];
  if (from < 0 || to < from) throw new Error(`docs/performance.md has no ${before} … ${after}`);
  return `${page.slice(0, from + before.length)}\n${text}\n${page.slice(to)}`;
}
