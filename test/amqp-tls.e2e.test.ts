// RabbitMQ over TLS: by its own listener, and behind a proxy that ends TLS. What is wrong with a certificate stands in the
// log and in /health.
import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TlsOptions } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { connectRabbit } from '@promopulse/shared/messaging/rabbitmq/broker';
import { rabbitEndpoint } from '@promopulse/shared/messaging/rabbitmq/endpoint';
import { brokerOptions } from '@promopulse/shared/service/service-broker';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { createCertificateAuthority } from '@promopulse/testing/certificates';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl, uniquePrefix } from '@promopulse/testing/servers';
import { startTestService } from '@promopulse/testing/service';
import { startTlsProxy, type TlsProxy } from '@promopulse/testing/tls-proxy';
import { startLocalRabbit } from '../local/rabbitmq.ts';
import { findRabbit } from '../local/rabbitmq-programs.ts';
import { promotions } from '../services/promotions/src/service.ts';

const authority = createCertificateAuthority();
const stranger = createCertificateAuthority('another CA');
const server = authority.issue({ name: 'rabbitmq', hosts: ['localhost', 'mq.example.com'] });
const own = authority.issue({ name: 'promotions' });

async function startRabbit(): Promise<TlsProxy> {
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-tls-'));
  chmodSync(folder, 0o755);
  const node = await startLocalRabbit({
    dir: join(folder, 'rabbitmq'),
    print: () => undefined,
    tls: { ca: authority.cert, ...server },
  });
  const close = async () => {
    await node.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { url: String(node.tlsUrl), close };
}

const demanding = { ...server, ca: authority.cert, requestCert: true, rejectUnauthorized: true };
const brokers = [
  { name: 'behind a proxy that ends TLS', start: () => startTlsProxy(amqpUrl(), demanding) },
  ...(findRabbit() ? [{ name: "by RabbitMQ's own listener", start: startRabbit }] : []),
];

const good = { AMQP_TLS_CA: authority.cert, AMQP_TLS_CERT: own.cert, AMQP_TLS_KEY: own.key };

/** Connects with these settings. @returns the first reason that is logged, and the one in `problem()` */
async function problemWith(env: Parameters<typeof rabbitEndpoint>[0]): Promise<{ logged: string; problem: string }> {
  const lines: string[] = [];
  const log = createLogger({
    service: 'test',
    level: 'warn',
    destination: { write: (line: string) => void lines.push(line) },
  });
  const broker = connectRabbit(rabbitEndpoint(env), brokerOptions(uniquePrefix(), log));
  try {
    await eventually(() => expect(lines.length).toBeGreaterThan(0));
    return { logged: JSON.parse(String(lines[0])).reason, problem: String(broker.problem()) };
  } finally {
    await broker.close();
  }
}

describe.each(brokers)('$name', ({ start }) => {
  let broker: TlsProxy;
  beforeAll(async () => {
    broker = await start();
  }, 120_000);
  afterAll(() => broker?.close(), 60_000);

  test('a service publishes its events, with the authority and a client certificate', async () => {
    const service = await startTestService(promotions, { AMQP_URL: broker.url, ...good });
    try {
      await eventually(async () => {
        const { body } = await service.internal.get('/health');
        expect([body.broker, body.broker_problem]).toEqual(['connected', null]);
      });
      const period = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
      expect((await service.api.post('/promotions', { name: 'Sale', ...period })).status).toBe(201);
    } finally {
      await service.close();
    }
  });

  test('the server name is a setting, for a host that the certificate does not name', async () => {
    const url = broker.url.replace('localhost', '127.0.0.1');
    const { problem } = await problemWith({ AMQP_URL: url, ...good });
    expect(problem).toMatch(/another host name .*AMQP_TLS_SERVER_NAME .*ERR_TLS_CERT_ALTNAME_INVALID/);
    const log = createLogger({ service: 'test', level: 'silent' });
    const named = rabbitEndpoint({ AMQP_URL: url, ...good, AMQP_TLS_SERVER_NAME: 'mq.example.com' });
    const connection = connectRabbit(named, brokerOptions(uniquePrefix(), log));
    await eventually(() => expect(connection.isConnected()).toBe(true));
    await connection.close();
  });

  test.each([
    ['an authority that did not sign the server certificate', { AMQP_TLS_CA: stranger.cert }, /set AMQP_TLS_CA/],
    ['no authority', { AMQP_TLS_CA: undefined }, /set AMQP_TLS_CA/],
    [
      'no client certificate',
      { AMQP_TLS_CERT: undefined, AMQP_TLS_KEY: undefined },
      /client certificate.* set AMQP_TLS_CERT/,
    ],
  ])('says what is wrong with %s, in the log and as its problem', async (_case, change, expected) => {
    const { logged, problem } = await problemWith({ AMQP_URL: broker.url, ...good, ...change });
    expect([logged, problem]).toEqual([expect.stringMatching(expected), expect.stringMatching(expected)]);
  });

  test('the dead-letter command connects with the same settings, from files', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'promopulse-pem-'));
    const files: Record<string, string> = {};
    for (const [name, pem] of Object.entries(good)) {
      files[`${name}_FILE`] = join(folder, name);
      writeFileSync(join(folder, name), pem, { mode: 0o600 });
    }
    const run = promisify(execFile)(
      process.execPath,
      ['packages/shared/src/commands/dead-letters.ts', 'list', '--json'],
      { env: { AMQP_URL: broker.url, AMQP_PREFIX: uniquePrefix(), ...files } },
    );
    expect((await run).stdout.trim()).toBe('[]');
    rmSync(folder, { recursive: true });
  });
});

describe('the reason why there is no connection', () => {
  const cases: [name: string, options: TlsOptions, change: (url: string) => string, expected: RegExp][] = [
    [
      'an expired server certificate',
      authority.issue({ name: 'old', hosts: ['localhost'], notAfter: new Date(Date.now() - 60_000) }),
      (url) => url,
      /has expired .*CERT_HAS_EXPIRED/,
    ],
    ['a wrong password', server, (url) => url.replace(/:[^:@]+@/, ':wrong@'), /refuses the user or the password/],
    [
      'an unknown virtual host',
      server,
      (url) => Object.assign(new URL(url), { pathname: '/none' }).href,
      /virtual host of AMQP_URL does not exist/,
    ],
    ['a port that does not speak TLS', server, () => amqpUrl().replace('amqp:', 'amqps:'), /does not speak TLS/],
    ['amqp:// to a port for TLS', server, (url) => url.replace('amqps:', 'amqp:'), /may expect amqps/],
    ['a port where nothing listens', server, () => 'amqps://localhost:1', /nothing listens .*ECONNREFUSED/],
    ['an unknown host', server, () => 'amqps://mq.invalid', /host of AMQP_URL/],
  ];
  test.each(cases)('is said for %s', async (_name, options, change, expected) => {
    const proxy = await startTlsProxy(amqpUrl(), options);
    const url = change(proxy.url);
    const tls = url.startsWith('amqps:') ? { AMQP_TLS_CA: authority.cert } : {};
    const { logged } = await problemWith({ AMQP_URL: url, ...tls });
    expect(logged).toMatch(expected);
    expect(logged).not.toMatch(/wrong@|guest:/);
    await proxy.close();
  });

  test('stands in /health of a service', async () => {
    const service = await startTestService(promotions, { AMQP_URL: 'amqps://localhost:1' });
    try {
      await eventually(async () => {
        const { body } = await service.internal.get('/health');
        expect([body.broker, body.broker_problem]).toEqual([
          'disconnected',
          'nothing listens at the host and port of AMQP_URL (ECONNREFUSED)',
        ]);
      });
    } finally {
      await service.close();
    }
  });
});
