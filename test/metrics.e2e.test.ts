// The metrics of all services and of the gateway: that docs/metrics.md has each of them, that callers cannot make them
// grow, and that a scrape works under load and without a database.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ConfigError } from '@promopulse/shared/config';
import { type ServiceName, services } from '@promopulse/shared/contracts/services';
import { startService } from '@promopulse/shared/service';
import { type Client, client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase, type TestDatabase, uniquePrefix } from '@promopulse/testing/servers';
import { startTestService, type TestService, testKeys } from '@promopulse/testing/service';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { freePort } from '../local/ports.ts';
import { canHavePrometheus, promtool } from '../local/prometheus.ts';
import { loadService } from '../local/services.ts';
import { type RunningGateway, startGateway } from '../services/gateway/src/app.ts';
import { loadGatewayConfig } from '../services/gateway/src/config.ts';
import { startFreshStack } from './support/stack.ts';

const root = resolve(import.meta.dirname, '..');
const keys = { PII_ENCRYPTION_KEYS: testKeys[0], PII_INDEX_KEY: testKeys[2] };
const actorKey = randomBytes(32).toString('base64url');
const started = {} as Record<ServiceName, TestService>;
let gateway: RunningGateway;
/** A gateway that asks its callers for a credential. */
let asking: RunningGateway;
let gatewayDatabase: TestDatabase;
let api: Client;

beforeAll(async () => {
  const METRICS_PORT = '0';
  const env: Record<string, string> = { ...keys, METRICS_PORT, AMQP_PREFIX: uniquePrefix() };
  for (const name of services) {
    started[name] = await startTestService(await loadService(name), env);
    env[`${name.toUpperCase()}_URL`] = started[name].url;
    env[`${name.toUpperCase()}_INTERNAL_URL`] = started[name].internalUrl;
  }
  gatewayDatabase = await createTestDatabase(['gateway']);
  const { AMQP_PREFIX: _, ...urls } = env;
  const plain = { ...urls, HOST: '127.0.0.1', PORT: '0', LOG_LEVEL: 'silent' };
  gateway = await startGateway(plain);
  asking = await startGateway({
    ...plain,
    AUTH: 'required',
    ACTOR_KEYS: actorKey,
    DATABASE_URL: gatewayDatabase.urlFor('gateway'),
  });
  api = client(gateway.url);
}, 120_000);
afterAll(async () => {
  await gateway?.close();
  await asking?.close();
  for (const service of Object.values(started)) await service.close();
  await gatewayDatabase?.drop();
});

const processes = ['gateway', 'asking', ...services] as const;
type Process = (typeof processes)[number];

function metricsUrlOf(name: Process): string {
  const { metricsUrl } = name === 'gateway' ? gateway : name === 'asking' ? asking : started[name];
  return `${metricsUrl}/metrics`;
}

async function scrape(name: Process): Promise<string> {
  const response = await fetch(metricsUrlOf(name));
  expect([response.status, response.headers.get('content-type')]).toEqual([
    200,
    'text/plain; version=0.0.4; charset=utf-8',
  ]);
  return await response.text();
}

/** Sends bytes, and waits until the server has closed the connection. */
function sendRaw(url: string, text: string): Promise<void> {
  return new Promise((done) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(text));
    socket.on('error', () => undefined).on('close', () => done());
    socket.resume();
  });
}

interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** By the grammar of the text format. @throws Error at a line that is none */
function parse(text: string): Sample[] {
  return text.split('\n').flatMap((line) => {
    if (line === '' || line.startsWith('#')) return [];
    const [, name = '', labels = '', value] =
      /^([a-zA-Z_:][\w:]*)(?:\{((?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$/.exec(line) ?? [];
    if (!name) throw new Error(`not a sample: ${line}`);
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, text]) => [label, text]);
    return [{ name, labels: Object.fromEntries(pairs), value: Number(value?.replace('+Inf', 'Infinity')) }];
  });
}

const requests = 'http_server_request_duration_seconds_count';
const named = (text: string, name: string): Sample[] => parse(text).filter((sample) => sample.name === name);
const total = (samples: Sample[]): number => samples.reduce((sum, { value }) => sum + value, 0);

/** Uses every part: a user subscribes to a promotion, and a question goes to an owner. A busy machine may answer 503 once. */
async function useAll(): Promise<void> {
  const created = (path: string, body: object): Promise<number> =>
    eventually(async () => {
      const answer = await api.post(path, body);
      expect(answer.status).toBe(201);
      return answer.body.id;
    });
  const email = `${randomBytes(6).toString('hex')}@example.com`;
  const period = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-06-30T00:00:00Z' };
  const promotion_id = await created('/promotions', { name: 'Summer', ...period });
  await eventually(async () => {
    await api.post(`/promotions/${promotion_id}/status`, { status: 'active' });
    expect((await api.get(`/promotions/${promotion_id}`)).body.status).toBe('active');
  });
  const user_id = await created('/users', { first_name: 'Ada', last_name: 'L', email });
  await created('/subscriptions', { user_id, promotion_id });
  await eventually(async () => expect((await api.get('/promotions?limit=10&offset=2000')).status).toBe(200));
  await api.post('/subscriptions', { user_id: 2_000_000_000, promotion_id });
}

describe('docs/metrics.md', () => {
  interface Row {
    name: string;
    type: string;
    labels: string[];
    places: string[];
  }
  const rows = [
    ...readFileSync(join(root, 'docs/metrics.md'), 'utf8').matchAll(
      /^\| `(\w+)` \| (gauge|counter|histogram) \|([^|]*)\| ([^|]+) \| [^|]+ \|$/gm,
    ),
  ].map(([, name = '', type = '', labels = '', places = '']): Row => {
    return {
      name,
      type,
      labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label),
      places: places.split(', '),
    };
  });
  const placesOf = (name: Process): string[] => {
    if (name === 'gateway') return ['all', 'gateway'];
    return name === 'asking' ? ['all', 'gateway', 'callers'] : ['all', 'services', name];
  };

  test.each(processes)('lists every metric of %s with its type, and no other', async (name) => {
    const text = await scrape(name);
    const found = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, metric, type]) => `${metric} ${type}`);
    const listed = rows.filter(({ places }) => places.some((place) => placesOf(name).includes(place)));
    expect(found.sort()).toEqual(listed.map((row) => `${row.name} ${row.type}`).sort());
  });

  test('lists the labels of each metric', async () => {
    await useAll();
    const samples = (await Promise.all(processes.map(scrape))).flatMap(parse);
    const labelsOf = ({ name, type }: Row): string[] => {
      const series = type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name];
      const own = samples.filter((sample) => series.includes(sample.name));
      return [
        ...new Set(
          own.map(({ labels }) =>
            Object.keys(labels)
              .filter((label) => label !== 'le')
              .join(),
          ),
        ),
      ];
    };
    /** They have no line when nothing happens: of these no labels are seen here. */
    const silent = [
      'promopulse_gateway_unparsed_requests_total',
      'promopulse_gateway_rate_limits_shared',
      'promopulse_gateway_token_keys_age_seconds',
      'promopulse_used_ids_ratio',
    ];
    for (const row of rows) {
      const seen = labelsOf(row);
      if (silent.includes(row.name) && seen.length === 0) continue;
      expect([row.name, seen]).toEqual([row.name, [row.labels.join()]]);
    }
  });
});

describe('by the rules of Prometheus', () => {
  test.each(processes)('each metric of %s has HELP and TYPE, and a name with its unit', async (name) => {
    const text = await scrape(name);
    const helps = [...text.matchAll(/^# HELP (\w+) \S.+$/gm)].map(([, metric]) => metric);
    const types = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, metric = '', type = '']) => ({ metric, type }));
    expect(types.map(({ metric }) => metric)).toEqual(helps);
    const unit = {
      counter: /_total$/,
      histogram: /_seconds$/,
      gauge:
        /_(seconds|bytes|ratio|info|fds|events|letters|requests|connections|statements|max|up|state|leading|open|shared|reconciled|ahead)$/,
    };
    for (const { metric, type } of types) expect([metric, unit[type as 'gauge'].test(metric)]).toEqual([metric, true]);
  });

  (canHavePrometheus() ? test : test.skip).each(processes)(
    'promtool finds no fault with %s',
    async (name) => {
      await useAll();
      await promtool(['check', 'metrics'], { input: await scrape(name) });
    },
    180_000,
  );
});

describe('the listener', () => {
  test.each(processes)('of %s has nothing but /metrics', async (name) => {
    const url = metricsUrlOf(name);
    expect((await fetch(url, { method: 'HEAD' })).status).toBe(200);
    expect((await fetch(`${url}?name[]=up`)).status).toBe(200);
    const posted = await fetch(url, { method: 'POST' });
    expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    for (const path of ['/', '/metrics/', '/health', '/users', '/api-keys', '/internal/users']) {
      expect((await fetch(new URL(path, url))).status).toBe(404);
    }
  });

  test('no other listener has /metrics', async () => {
    const others = [
      gateway.url,
      asking.url,
      ...services.flatMap((name) => [started[name].url, started[name].internalUrl]),
    ];
    for (const url of others) expect([401, 404]).toContain((await fetch(`${url}/metrics`)).status);
    expect((await fetch(`${gateway.url}/metrics`)).status).toBe(404);
  });

  test('the gateway does not start when its metrics have the public port', () => {
    const urls = Object.fromEntries(services.map((name) => [`${name.toUpperCase()}_URL`, 'http://127.0.0.1:8001']));
    expect(() => loadGatewayConfig({ ...urls, PORT: '8000', METRICS_PORT: '8000' })).toThrow(
      new ConfigError('PORT and METRICS_PORT are both 8000: set METRICS_PORT to another port.'),
    );
  });

  test('without METRICS_PORT there is none', async () => {
    const { AMQP_PREFIX: _, METRICS_PORT: __, ...env } = started.users.env;
    const service = await startService(await loadService('users'), { ...env, AMQP_PREFIX: uniquePrefix() });
    try {
      expect(service.metricsUrl).toBeUndefined();
    } finally {
      await service.close();
    }
  });
});

describe('what callers send', () => {
  const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'SEARCH', 'M-SEARCH'];
  const starts = [
    '/users',
    '/promotions',
    '/subscriptions',
    '/health',
    '/docs',
    '/openapi.json',
    '/internal/users',
    '',
    '/%00',
  ];
  const random = (): string => randomBytes(9).toString('base64url');

  /** A random request, with the marks in its path, query, headers and body. */
  function randomRequest(index: number): string {
    const depth = index % 5;
    const path = [starts[index % starts.length], ...Array.from({ length: depth }, random)].join('/') || '/';
    const body = JSON.stringify({ email: 'marked@example.com', [random()]: random() });
    return [
      `${methods[index % methods.length]} ${path}?${random()}=marked@example.com HTTP/1.1`,
      'Host: marked.example',
      `X-Request-Id: marked-${random()}`,
      'Authorization: Bearer ppk_marked',
      `User-Agent: marked ${random()}`,
      'Content-Type: application/json',
      `Content-Length: ${body.length}`,
      'Connection: close',
      `\r\n${body}`,
    ].join('\r\n');
  }

  async function fuzz(url: string, count: number): Promise<void> {
    for (let from = 0; from < count; from += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, offset) => sendRaw(url, randomRequest(from + offset))));
    }
  }

  test('1,000 random paths and methods leave few series, and none of their text', async () => {
    for (const name of processes) {
      const { url } = name === 'gateway' ? gateway : name === 'asking' ? asking : started[name];
      const count = name === 'gateway' ? 1_000 : 200;
      await fuzz(url, count);
      if (name === 'gateway') await sendRaw(url, 'not\x01http marked\r\n\r\n');
      const text = await scrape(name);
      expect(text).not.toMatch(/marked|example\.com|ppk_/);
      const counted = named(text, requests);
      expect(total(counted)).toBeGreaterThanOrEqual(count * 0.9);
      const values = (label: string): string[] => [...new Set(counted.map(({ labels }) => labels[label] ?? ''))];
      for (const method of values('http_request_method')) {
        expect(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', '_OTHER']).toContain(method);
      }
      // A segment of a random path has 12 characters.
      for (const route of values('http_route')) expect(route).toMatch(/^(\/([a-z_.-]+|\{\w+\}|\*)?)*$/);
      expect(values('http_route').length).toBeLessThan(25);
      expect(counted.length).toBeLessThan(150);
    }
  }, 240_000);

  test('names, emails, phones, keys and secrets of real requests are in no metric', async () => {
    const user = {
      first_name: 'Marked',
      last_name: 'Marked',
      email: 'marked.7f3a9c@example.com',
      phone: '+15550199377',
    };
    expect([201, 503]).toContain((await api.post('/users', user)).status);
    await api.get('/users?email=marked.7f3a9c@example.com');
    await api.get('/users/marked.7f3a9c@example.com');
    const secrets = [...testKeys, actorKey, ...Object.values(started).flatMap(({ env }) => passwordsOf(env))];
    for (const name of processes) {
      const text = await scrape(name);
      expect(text).not.toMatch(/marked|15550199377|127\.0\.0\.1|postgres:\/\/|amqp:\/\//i);
      expect(secrets.filter((secret) => text.includes(secret))).toEqual([]);
    }
  });
});

/** Of the URLs in an environment. */
function passwordsOf(env: Record<string, string>): string[] {
  return [env.DATABASE_URL, env.AMQP_URL].flatMap((url) => {
    const { password } = new URL(String(url));
    return password.length > 5 ? [password] : []; // RabbitMQ's "guest" is a word
  });
}

test('a scrape under load answers, and no request is missing in the counts', async () => {
  const before = total(named(await scrape('gateway'), requests));
  const clients = 10;
  const each = 30;
  let scraping = true;
  const scrapes = (async () => {
    let count = 0;
    for (; scraping; count += 1) await Promise.all([scrape('gateway'), scrape('users'), scrape('gateway')]);
    return count;
  })();
  await Promise.all(
    Array.from({ length: clients }, async () => {
      for (let number = 0; number < each; number += 1) await api.get('/users/1');
    }),
  );
  scraping = false;
  expect(await scrapes).toBeGreaterThan(0);
  await eventually(async () => {
    expect(total(named(await scrape('gateway'), requests)) - before).toBe(clients * each);
  });
}, 120_000);

test('the figures of events and projections follow what happens', async () => {
  await useAll();
  const value = async (name: Process, metric: string, labels: Record<string, string> = {}) =>
    total(
      named(await scrape(name), metric).filter((each) =>
        Object.entries(labels).every(([k, v]) => each.labels[k] === v),
      ),
    );
  await eventually(async () => {
    expect(await value('promotions', 'promopulse_relay_leading')).toBe(1);
    expect(await value('promotions', 'promopulse_outbox_waiting_events')).toBe(0);
    expect(await value('promotions', 'messaging_client_sent_messages_total', { error_type: '' })).toBeGreaterThan(2);
    expect(await value('subscriptions', 'messaging_client_consumed_messages_total')).toBeGreaterThan(2);
    for (const owner of ['users', 'promotions']) {
      expect(await value('subscriptions', 'promopulse_projection_reconciled', { owner })).toBe(1);
      expect(named(await scrape('subscriptions'), 'promopulse_projection_watermark_age_seconds').length).toBe(2);
      expect(
        await value('subscriptions', 'promopulse_projection_invalidations_total', { owner, reason: 'session' }),
      ).toBeGreaterThan(0);
      expect(
        await value('subscriptions', 'promopulse_projection_reading_duration_seconds_count', { owner }),
      ).toBeGreaterThan(0);
    }
  });
  expect(
    await value('subscriptions', 'http_client_request_duration_seconds_count', { upstream: 'users' }),
  ).toBeGreaterThan(0);
  expect(
    await value('gateway', 'http_client_request_duration_seconds_count', {
      upstream: 'subscriptions',
      http_request_method: 'POST',
      http_response_status_code: '201',
      error_type: '',
    }),
  ).toBeGreaterThan(0);
  expect(await value('asking', 'promopulse_gateway_failed_authentications_total')).toBeGreaterThan(0);
  expect(await value('asking', 'promopulse_gateway_api_keys_age_seconds')).toBeLessThan(300);
}, 120_000);

describe('while the database is away', () => {
  let proxy: TcpProxy;
  let service: TestService;
  beforeAll(async () => {
    const database = await createTestDatabase(['users']);
    proxy = await startTcpProxy(database.urlFor('users'));
    const DATABASE_URL = proxy.through(database.urlFor('users'));
    service = await startTestService(await loadService('users'), { ...keys, DATABASE_URL, METRICS_PORT: '0' });
    const { close } = service;
    service.close = async () => {
      await close();
      await proxy.close();
      await database.drop();
    };
  }, 60_000);
  afterAll(() => service?.close());

  test.each([
    ['refuses connections', () => proxy.refuse(true), () => proxy.refuse(false)],
    ['does not answer', () => proxy.stall(), () => proxy.resume()],
  ])(
    'because it %s, a scrape answers without the figures of the outbox',
    async (_how, begin, end) => {
      const text = async () => await (await fetch(`${service.metricsUrl}/metrics`)).text();
      begin();
      try {
        await eventually(async () => {
          const during = await text();
          expect(
            named(during, 'promopulse_metrics_source_up').find(({ labels }) => labels.source === 'outbox')?.value,
          ).toBe(0);
          expect(named(during, 'promopulse_outbox_waiting_events')).toEqual([]);
          expect(named(during, 'db_client_connection_max')).toMatchObject([{ value: 5 }]);
        });
      } finally {
        end();
      }
      await eventually(
        async () => expect(named(await text(), 'promopulse_outbox_waiting_events')).toMatchObject([{ value: 0 }]),
        { timeoutMs: 30_000 },
      );
    },
    90_000,
  );
});

test('npm start has the metrics of the gateway on METRICS_PORT, and those of the services on the next ports', async () => {
  const base = await firstOfFreePorts(1 + services.length);
  const stack = await startFreshStack('memory', { METRICS_PORT: String(base) });
  try {
    for (const [index, service] of ['gateway', ...services].entries()) {
      const text = await (await fetch(`http://127.0.0.1:${base + index}/metrics`)).text();
      expect(named(text, 'promopulse_build_info')).toMatchObject([{ labels: { service }, value: 1 }]);
    }
  } finally {
    await stack.close();
  }
}, 60_000);

async function firstOfFreePorts(count: number): Promise<number> {
  for (;;) {
    const base = await freePort();
    const wanted = Array.from({ length: count }, (_, index) => base + index);
    const free = await Promise.all(wanted.map((port) => freePort(port)));
    if (free.join() === wanted.join()) return base;
  }
}
