// Measures what the metrics cost: GET /promotions/{id} at the service and through the gateway, both with and without
// METRICS_PORT. Those with it are scraped each second, fifteen times as often as Prometheus does by default.
import { serviceUrls } from '@promopulse/shared/contracts/services';
import { freePort } from '../../local/ports.ts';
import type { Sizes } from './data.ts';
import { targetOf } from './endpoints.ts';
import type { Row, Section } from './report.ts';
import { connections } from './requests.ts';
import { type Case, interleave, type Load, type Plan, ratio } from './rounds.ts';
import { createBenchDatabase, type Servers, type Started, startParts } from './stack.ts';
import { loadHttp } from './wrk.ts';

const scrapeEveryMs = 1_000;

/** A service and a gateway in front of it, and where their metrics are. */
interface Pair {
  promotions: Started;
  gateway: Started;
  metricsUrls: string[];
}

export async function measureMetricsCost(servers: Servers, sizes: Sizes, plan: Plan): Promise<Section> {
  const database = await createBenchDatabase(servers, 'metrics', sizes);
  const startPart = async (part: string, env: Record<string, string>): Promise<Started> => {
    const started = (await startParts(servers, database, [part], { env }))[part];
    if (!started) throw new Error(`${part} did not start`);
    return started;
  };
  const startPair = async (ports: readonly number[]): Promise<Pair> => {
    const [ofService, ofGateway] = ports.map((port): Record<string, string> => ({ METRICS_PORT: String(port) }));
    const promotions = await startPart('promotions', { ...ofService });
    const gateway = await startPart('gateway', { ...serviceUrls(() => promotions.url), ...ofGateway });
    return { promotions, gateway, metricsUrls: ports.map((port) => `http://127.0.0.1:${port}/metrics`) };
  };
  const port = await freePort();
  const pairs = { without: await startPair([]), with: await startPair([port, await freePort(undefined, [port])]) };

  const cases = Object.entries(pairs).flatMap(([variant, { promotions, gateway, metricsUrls }]): Case[] =>
    Object.entries({ direct: promotions, gateway }).map(([way, { url }]) => ({
      name: `get ${way} ${variant} metrics`,
      components: () => ({ service: promotions.pid, gateway: gateway.pid, postgres: servers.postgresPid }),
      run: (seconds) =>
        whileScraping(metricsUrls, () =>
          loadHttp(servers.folder, targetOf('get', url, sizes), { connections, seconds }),
        ),
    })),
  );
  const rounds = await interleave(cases, plan);
  const row = (part: 'service' | 'gateway', way: string, what: string): Row => ({
    measure: 'cost of metrics',
    what: `${what}: CPU with metrics / without`,
    value: ratio(rounds[`get ${way} with metrics`], rounds[`get ${way} without metrics`], ({ cpu }) => cpu[part] ?? 0),
    goal: { atMost: 1.1 },
  });
  const rows = [
    row('service', 'direct', 'GET /promotions/{id} at the service'),
    row('gateway', 'gateway', 'GET /promotions/{id} at the gateway'),
  ];
  for (const { gateway, promotions } of Object.values(pairs)) await Promise.all([gateway.stop(), promotions.stop()]);
  return { name: 'metrics', rows, cases: rounds, skipped: [] };
}

async function whileScraping(urls: readonly string[], run: () => Promise<Load>): Promise<Load> {
  const scrape = async (url: string): Promise<void> => {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    await response.arrayBuffer();
  };
  let failure: unknown;
  const scrapes = setInterval(() => {
    Promise.all(urls.map(scrape)).catch((error: unknown) => {
      failure = error;
    });
  }, scrapeEveryMs);
  try {
    await Promise.all(urls.map(scrape));
    const load = await run();
    if (failure) throw failure;
    return load;
  } finally {
    clearInterval(scrapes);
  }
}
