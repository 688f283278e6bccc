// Draws the rows as an SVG chart: each value relative to its goal, on a logarithmic scale, better to the right.
import { formatGoal, formatValue, isMet, type Row } from './report.ts';

const width = 1_120;
const labelWidth = 530;
const valueWidth = 170;
const plot = { left: labelWidth, right: width - valueWidth };
const rowHeight = 24;
const headHeight = 66;
/** Grid lines: how many times better than the goal. Values beyond the first and the last are clamped to them. */
const gridLines = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8];

/** @returns how many times better the value is than the goal: 1 at the goal, 2 when twice as good */
function timesBetter({ goal }: Row, value: number): number {
  return 'atLeast' in goal ? value / goal.atLeast : goal.atMost / value;
}

function xOf(times: number): number {
  const [min = 1, max = 1] = [gridLines[0], gridLines.at(-1)];
  const clamped = Math.min(max, Math.max(min, times));
  return plot.left + ((Math.log(clamped) - Math.log(min)) / (Math.log(max) - Math.log(min))) * (plot.right - plot.left);
}

/**
 * @param rows from top to bottom
 * @param caption one line below the title
 */
export function drawChart(rows: readonly Row[], caption: string): string {
  const height = headHeight + rows.length * rowHeight + 16;
  const bottom = height - 12;
  const lines = gridLines.map((times) => {
    const label = times < 1 ? `1/${1 / times}` : times === 1 ? 'goal' : `${times}×`;
    const x = xOf(times).toFixed(1);
    const stroke = times === 1 ? '#1f2937' : '#d1d5db';
    return `<line x1="${x}" y1="${headHeight - 6}" x2="${x}" y2="${bottom}" stroke="${stroke}"/>
<text x="${x}" y="${headHeight - 12}" text-anchor="middle" class="small">${label}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Measured values relative to their goals">
<style>text { font: 13px system-ui, sans-serif; fill: #1f2937 } .small { font-size: 11px; fill: #4b5563 } .title { font-size: 16px; font-weight: 600 }</style>
<rect width="${width}" height="${height}" fill="#ffffff"/>
<text x="12" y="24" class="title">Each value relative to its goal: right of the line is better</text>
<text x="12" y="42" class="small">${escaped(caption)}</text>
${lines.join('\n')}
${rows.map((row, index) => drawBar(row, headHeight + index * rowHeight)).join('\n')}
</svg>
`;
}

function drawBar(row: Row, top: number): string {
  const { median, min, max } = row.value;
  const [goal, end] = [xOf(1), xOf(timesBetter(row, median))];
  const [from, to] = [timesBetter(row, min), timesBetter(row, max)].map(xOf).toSorted((a, b) => a - b) as [
    number,
    number,
  ];
  const color = isMet(row) ? '#2563eb' : '#d97706';
  const middle = top + rowHeight / 2;
  const left = Math.min(goal, end).toFixed(1);
  const length = Math.max(1.5, Math.abs(end - goal)).toFixed(1);
  return `<text x="${labelWidth - 10}" y="${middle + 4}" text-anchor="end">${escaped(row.what)}</text>
<rect x="${left}" y="${top + 5}" width="${length}" height="${rowHeight - 10}" fill="${color}"/>
<line x1="${from.toFixed(1)}" y1="${middle}" x2="${to.toFixed(1)}" y2="${middle}" stroke="#111827" stroke-width="1.5"/>
<text x="${plot.right + 8}" y="${middle + 4}">${escaped(`${formatValue(median, row.unit)} (${formatGoal(row)})`)}</text>`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
