// A service has two listeners: whoever reaches its public port past the gateway finds the public routes, and nothing
// else. Which routes there are is read from the definitions.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { internalServiceUrls, services } from '@promopulse/shared/contracts/services';
import type { Route } from '@promopulse/shared/http/routes';
import type { ServiceDefinition } from '@promopulse/shared/service';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { answersIn, exchangeRaw } from '@promopulse/testing/raw-connection';
import { startTestService, type TestService, testKeys } from '@promopulse/testing/service';
import { freePort } from '../local/ports.ts';
import { loadServices } from '../local/services.ts';
import { startGateway } from '../services/gateway/src/app.ts';

const root = resolve(import.meta.dirname, '..');
const definitions = await loadServices();
const nowhere = 'http://127.0.0.1:9';
const keys = { PII_ENCRYPTION_KEYS: testKeys[0], PII_INDEX_KEY: testKeys[2] };
const owners = internalServiceUrls(() => nowhere);
const pages = ['/health', '/health/live', '/health/ready', '/openapi.json'];
const noSuchPath = { status: 404, body: { code: 'no_such_path' } };

const started = new Map<string, TestService>();
const tables = new Map<string, { routes: readonly Route[]; internalRoutes: readonly Route[] }>();

/** The definition, which also tells the test its tables of routes. */
function observed(definition: ServiceDefinition): ServiceDefinition {
  return {
    ...definition,
    parts: (context) => {
      const parts = definition.parts(context);
      tables.set(definition.name, { routes: parts.routes, internalRoutes: parts.internalRoutes ?? [] });
      return parts;
    },
  };
}

beforeAll(async () => {
  for (const definition of definitions) {
    started.set(definition.name, await startTestService(observed(definition), { ...keys, ...owners }));
  }
}, 60_000);
afterAll(async () => {
  for (const service of started.values()) await service.close();
});

const serviceNamed = (name: string): TestService => started.get(name) as TestService;
const tableOf = (name: string) => tables.get(name) ?? { routes: [], internalRoutes: [] };
/** The path of a route with ids that no row has. */
const pathOf = ({ path }: Route): string => path.replaceAll(/\{\w+\}/g, '2147483647');

describe.each(services.flatMap((name) => [[name, 'public'] as const, [name, 'internal'] as const]))(
  '%s, %s port',
  (name, listener) => {
    const url = () => (listener === 'public' ? serviceNamed(name).url : serviceNamed(name).internalUrl);
    const end = '\r\n\r\n';
    const host = 'Host: service';

    test.each([
      ['headers beyond 32 KiB', `GET /users HTTP/1.1\r\n${host}\r\nX-A: ${'a'.repeat(40_000)}${end}`, 431, /32 KiB/],
      ['a control character', `GET /users/\x01 HTTP/1.1\r\n${host}${end}`, 400, /control character/],
      ['a method that is unknown', `BREW /pot HTTP/1.1\r\n${host}${end}`, 405, /supports only GET/],
      ['HTTP/2 without a negotiation', `PRI * HTTP/2.0${end}SM${end}`, 400, /does not speak HTTP\/2/],
      ['HTTP/2 by its name alone', `GET /users HTTP/2.0\r\n${host}\r\nConnection: close${end}`, 400, /HTTP\/1\.1/],
      ['HTTP/0.9', `GET /users HTTP/0.9\r\n${host}\r\nConnection: close${end}`, 400, /HTTP\/1\.1/],
      ['RTSP/1.0', `GET /users RTSP/1.0\r\n${host}\r\nConnection: close${end}`, 400, /HTTP\/1\.1/],
      ['RTSP/1.1', `GET /users RTSP/1.1\r\n${host}\r\nConnection: close${end}`, 400, /HTTP\/1\.1/],
      ['CONNECT', `CONNECT users:1 HTTP/1.1\r\n${host}${end}`, 405, /supports only GET/],
    ])('answers %s with one problem document, and closes the connection', async (_title, bytes, status, sentence) => {
      const [answer, ...more] = answersIn(await exchangeRaw(url(), bytes));
      expect([answer?.status, more]).toEqual([status, []]);
      expect(answer?.head).toMatch(/^content-type: application\/problem\+json/im);
      const { detail, request_id } = JSON.parse(String(answer?.body));
      expect(detail).toMatch(sentence);
      expect(/^x-request-id: (.*)$/im.exec(String(answer?.head))?.[1]).toBe(request_id);
    });

    test('a chunk that is malformed after the answer gets no second answer', async () => {
      const head = `POST /nowhere HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked${end}`;
      const answers = answersIn(await exchangeRaw(url(), head, 'ZZ\r\n'));
      expect(answers.map(({ status }) => status)).toEqual([404]);
    });
  },
);

describe.each([...services])('%s', (name) => {
  test('its public port has no internal route and no page', async () => {
    const { internalRoutes } = tableOf(name);
    expect(internalRoutes.length).toBeGreaterThan(0);
    for (const route of internalRoutes) {
      expect(await serviceNamed(name).api.request(route.method.toUpperCase(), pathOf(route))).toMatchObject(noSuchPath);
    }
    for (const page of pages) expect(await serviceNamed(name).api.get(page)).toMatchObject(noSuchPath);
  });

  test('its internal port has them, and no public route', async () => {
    const { internal } = serviceNamed(name);
    const { routes, internalRoutes } = tableOf(name);
    for (const route of internalRoutes) {
      const { body } = await internal.request(route.method.toUpperCase(), pathOf(route));
      expect([route.path, body.code]).not.toEqual([route.path, 'no_such_path']);
    }
    for (const page of pages) expect((await internal.get(page)).status).toBe(200);
    expect(routes.length).toBeGreaterThan(0);
    for (const route of routes) {
      expect(await internal.request(route.method.toUpperCase(), pathOf(route))).toMatchObject(noSuchPath);
    }
  });

  test('each listener has an address of its own', () => {
    const { url, internalUrl } = serviceNamed(name);
    expect(new URL(internalUrl).port).not.toBe(new URL(url).port);
  });
});

test('the gateway forwards to the public ports only', async () => {
  const urls = Object.fromEntries(
    services.flatMap((name) => [
      [`${name.toUpperCase()}_URL`, serviceNamed(name).url],
      [`${name.toUpperCase()}_INTERNAL_URL`, serviceNamed(name).internalUrl],
    ]),
  );
  const gateway = await startGateway({ HOST: '127.0.0.1', PORT: '0', LOG_LEVEL: 'silent', ...urls });
  try {
    for (const name of services) {
      const { routes, internalRoutes } = tableOf(name);
      for (const route of internalRoutes) {
        for (const path of [pathOf(route), `/${name}${pathOf(route)}`]) {
          expect((await fetch(gateway.url + path)).status).toBe(404);
        }
      }
      for (const page of pages) expect((await fetch(`${gateway.url}/${name}${page}`)).status).not.toBe(200);
      const list = routes.find(({ method, path }) => method === 'get' && !path.includes('{'));
      expect(((await (await fetch(gateway.url + list?.path)).json()) as { code?: string }).code).not.toBe(
        'no_such_path',
      );
    }
    expect((await fetch(`${gateway.url}/health`)).status).toBe(200);
    expect((await fetch(`${gateway.url}/openapi.json`)).status).toBe(200);
  } finally {
    await gateway.close();
  }
});

describe('the HEALTHCHECK of an image', () => {
  const dockerfile = readFileSync(join(root, 'docker/service.Dockerfile'), 'utf8');
  const [, ...command] = JSON.parse(/^HEALTHCHECK[^[]*CMD (\[.*\])$/m.exec(dockerfile)?.[1] ?? '[]') as string[];

  /** Runs the command in the folder of a service. @returns its exit code */
  async function check(name: string, env: Record<string, string>): Promise<unknown> {
    const options = { cwd: join(root, 'services', name), env: { ...childEnvironment, ...env } };
    return await promisify(execFile)(process.execPath, command, options).then(
      () => 0,
      (error: { code: unknown }) => error.code,
    );
  }
  const portOf = (url: string): string => new URL(url).port;

  test.each([...services])('of %s asks its internal port', async (name) => {
    const { url, internalUrl } = serviceNamed(name);
    const ports = { PORT: portOf(url), INTERNAL_PORT: portOf(internalUrl) };
    expect(await check(name, ports)).toBe(0);
    expect(await check(name, { ...ports, HOST: '0.0.0.0' })).toBe(0);
    expect(await check(name, { ...ports, HOST: '127.0.0.9', INTERNAL_HOST: '127.0.0.1' })).toBe(0);
    expect(await check(name, { ...ports, INTERNAL_PORT: ports.PORT })).toBe(1);
    expect(await check(name, { PORT: String(Number(ports.INTERNAL_PORT) - 1_000) })).toBe(0);
    expect(await check(name, { ...ports, INTERNAL_PORT: String(await freePort()) })).toBe(1);
  });

  test('of the gateway asks its only port', async () => {
    const urls = Object.fromEntries(services.map((name) => [`${name.toUpperCase()}_URL`, nowhere]));
    const gateway = await startGateway({ HOST: '127.0.0.1', PORT: '0', LOG_LEVEL: 'silent', ...urls });
    const env = { PORT: String(gateway.port) };
    expect(await check('gateway', env)).toBe(0);
    await gateway.close();
    expect(await check('gateway', env)).toBe(1);
  });
});
