// `npm run -s chart -- 4 > chart.svg`: the events of a promotion in the last 30 days, by its id, from the API of BASE_URL (or
// of this machine's port PORT, 8000). docs/images/statistics.svg was made so from the data of `npm run seed`.
const { BASE_URL, PORT, API_KEY } = process.env;
const baseUrl = (BASE_URL || `http://localhost:${PORT || 8000}`).replace(/\/+$/, '');
const dayMs = 86_400_000;
const days = 30;
const colors = { view: '#2563eb', click: '#d97706', redeem: '#059669' } as const;
type Type = keyof typeof colors;
const [width, height, left, right, top, bottom] = [760, 300, 44, 24, 46, 34];

interface Point {
  at: string;
  raw: number;
}

const [promotion = ''] = process.argv.slice(2);
try {
  if (!/^\d+$/.test(promotion)) throw new Error('It takes the id of a promotion: npm run -s chart -- 4');
  const series = await Promise.all(
    (Object.keys(colors) as Type[]).map(async (type) => [type, await read(type)] as const),
  );
  process.stdout.write(`${svgOf(Object.fromEntries(series) as Record<Type, Point[]>)}\n`);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}

/** By whole days of UTC, until yesterday. */
async function read(type: Type): Promise<Point[]> {
  const to = Math.floor(Date.now() / dayMs) * dayMs;
  const range = { from: new Date(to - days * dayMs).toISOString(), to: new Date(to).toISOString() };
  const query = new URLSearchParams({ promotion_id: promotion, type, granularity: 'day', ...range });
  const headers = API_KEY ? { authorization: `Bearer ${API_KEY}` } : undefined;
  const response = await fetch(`${baseUrl}/statistics?${query}`, headers && { headers });
  const body = (await response.json()) as { series: Point[]; detail?: string };
  if (!response.ok) throw new Error(`/statistics was answered with ${response.status}: ${body.detail}`);
  return body.series;
}

function svgOf(series: Record<Type, Point[]>): string {
  const most = Math.max(1, ...Object.values(series).flatMap((points) => points.map(({ raw }) => raw)));
  const step = 10 ** Math.floor(Math.log10(most)) / 2;
  const highest = Math.ceil(most / step) * step;
  const x = (index: number): number => left + (index * (width - left - right)) / (days - 1);
  const y = (value: number): number => height - bottom - (value / highest) * (height - top - bottom);
  const lines = Array.from({ length: Math.round(highest / step) + 1 }, (_, index) => index * step).map(
    (value) =>
      `<line x1="${left}" x2="${width - right}" y1="${y(value)}" y2="${y(value)}" stroke="#e5e7eb"/><text x="${left - 8}" y="${y(value) + 4}" text-anchor="end">${value}</text>`,
  );
  const dates = series.view
    .map(({ at }, index) => ({ at, index }))
    .filter(({ index }) => index % 7 === 1)
    .map(({ at, index }) => `<text x="${x(index)}" y="${height - 12}" text-anchor="middle">${at.slice(5, 10)}</text>`);
  const curves = (Object.entries(series) as [Type, Point[]][]).map(([type, points], place) => {
    const path = points.map(({ raw }, index) => `${x(index).toFixed(1)},${y(raw).toFixed(1)}`).join(' ');
    const total = points.reduce((sum, { raw }) => sum + raw, 0);
    const legend = left + place * 150;
    return `<polyline points="${path}" fill="none" stroke="${colors[type]}" stroke-width="2"/><rect x="${legend}" y="14" width="12" height="12" fill="${colors[type]}"/><text x="${legend + 18}" y="24">${type}: ${total}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="Events of a promotion in ${days} days">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/><g font-family="sans-serif" font-size="12" fill="#374151">`,
    ...[...lines, ...dates, ...curves],
    '</g></svg>',
  ].join('\n');
}
