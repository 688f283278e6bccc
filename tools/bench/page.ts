// Writes the result of a run into docs/performance.md, between the markers there, and its chart beside it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { drawChart } from './chart.ts';
import { caseTable, markdownTable, type Report, rowTable, sortedRows } from './report.ts';

const folder = resolve(import.meta.dirname, '../..', 'docs');

/** @throws when a marker is missing */
export function writePage(report: Report): void {
  const file = join(folder, 'performance.md');
  const charted = sortedRows(report.sections).filter(({ measure }) => measure !== 'SQL round trips');
  const caption = `${report.quick ? 'A quick run: ' : ''}${report.rounds} rounds of ${report.seconds} s on ${report.machine}, ${report.at.slice(0, 10)}, commit ${report.commit}`;
  writeFileSync(join(folder, 'performance.svg'), drawChart(charted, caption));
  const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`);
  const missing = report.sections.flatMap(({ skipped, failed }) => [...skipped, ...(failed ? [failed] : [])]);
  const notMeasured = missing.map((line) => ` Not measured: ${line}.`).join('');
  const texts = {
    run: `${caption}; ${versions.join(', ')}.${notMeasured}`,
    rows: markdownTable(rowTable(report.sections)),
    cases: markdownTable(caseTable(report.sections)),
  };
  let page = readFileSync(file, 'utf8');
  for (const [name, text] of Object.entries(texts)) page = replaceBetween(page, name, text);
  writeFileSync(file, page);
}

/** Replaces the text between `<!-- name -->` and `<!-- /name -->`. */
function replaceBetween(page: string, name: string, text: string): string {
  const [before, after] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [from, to] = [page.indexOf(before), page.indexOf(after)];
  if (from < 0 || to < from) throw new Error(`docs/performance.md has no ${before} … ${after}`);
  return `${page.slice(0, from + before.length)}\n${text}\n${page.slice(to)}`;
}
