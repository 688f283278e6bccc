// The rows as an SVG chart: how far each is from its goal, on a logarithmic scale, better to the right.
import { goalText, isMet, type Row, shown } from './report.ts';

const width = 1_120;
const labelWidth = 530;
const valueWidth = 170;
const plot = { left: labelWidth, right: width - valueWidth };
const rowHeight = 24;
const headHeight = 66;
/** Twice to eight times as good as its goal, or as bad: what lies beyond is cut off. */
const scale = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8];

/** 1 is the goal, 2 is twice as good. */
function merit({ goal }: Row, value: number): number {
  return 'atLeast' in goal ? value / goal.atLeast : goal.atMost / value;
}

function x(times: number): number {
  const [least = 1, most = 1] = [scale[0], scale.at(-1)];
  const clamped = Math.min(most, Math.max(least, times));
  return (
    plot.left + ((Math.log(clamped) - Math.log(least)) / (Math.log(most) - Math.log(least))) * (plot.right - plot.left)
  );
}

/** @param rows in the order they are drawn; `caption` is one line below the title */
export function chartOf(rows: readonly Row[], caption: string): string {
  const height = headHeight + rows.length * rowHeight + 16;
  const bottom = height - 12;
  const lines = scale.map((times) => {
    const label = times < 1 ? `1/${1 / times}` : times === 1 ? 'goal' : `${times}×`;
    const at = x(times).toFixed(1);
    const stroke = times === 1 ? '#1f2937' : '#d1d5db';
    return `<line x1="${at}" y1="${headHeight - 6}" x2="${at}" y2="${bottom}" stroke="${stroke}"/>
<text x="${at}" y="${headHeight - 12}" text-anchor="middle" class="small">${label}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Measured ratios and their goals">
<style>text { font: 13px system-ui, sans-serif; fill: #1f2937 } .small { font-size: 11px; fill: #4b5563 } .title { font-size: 16px; font-weight: 600 }</style>
<rect width="${width}" height="${height}" fill="#ffffff"/>
<text x="12" y="24" class="title">How far from its goal: right of the line is better</text>
<text x="12" y="42" class="small">${escaped(caption)}</text>
${lines.join('\n')}
${rows.map((row, index) => barOf(row, headHeight + index * rowHeight)).join('\n')}
</svg>
`;
}

function barOf(row: Row, top: number): string {
  const { median, min, max } = row.value;
  const [goal, end] = [x(1), x(merit(row, median))];
  const [from, to] = [merit(row, min), merit(row, max)].map(x).toSorted((a, b) => a - b) as [number, number];
  const color = isMet(row) ? '#2563eb' : '#d97706';
  const middle = top + rowHeight / 2;
  const left = Math.min(goal, end).toFixed(1);
  const length = Math.max(1.5, Math.abs(end - goal)).toFixed(1);
  return `<text x="${labelWidth - 10}" y="${middle + 4}" text-anchor="end">${escaped(`${row.row}  ${row.what}`)}</text>
<rect x="${left}" y="${top + 5}" width="${length}" height="${rowHeight - 10}" fill="${color}"/>
<line x1="${from.toFixed(1)}" y1="${middle}" x2="${to.toFixed(1)}" y2="${middle}" stroke="#111827" stroke-width="1.5"/>
<text x="${plot.right + 8}" y="${middle + 4}">${escaped(`${shown(median, row.unit)} (${goalText(row)})`)}</text>`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
