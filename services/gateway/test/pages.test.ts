// The gateway's own pages: health, the OpenAPI document, the docs page, and errors on their paths.
import { createHash } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type ServiceName, services } from '@promopulse/shared/contracts/services';
import { createApp } from '@promopulse/shared/http/app';
import { serve } from '@promopulse/shared/http/server';
import type { Wire } from '@promopulse/testing/client';
import { createDocsRoutes } from '../src/pages/docs.ts';
import { createDocumentSource, mergeParts } from '../src/pages/openapi.ts';
import { neverAnswer, type StubService, startStubService, startTestGateway, type TestGateway } from './stubs.ts';
import { sendRaw } from './wire.ts';

let gateway: TestGateway;

beforeEach(async () => {
  gateway = await startTestGateway({ ENVIRONMENT: 'test' });
  for (const name of services) gateway[name].handler = service(documentOf(name));
});
afterEach(() => gateway.close());

describe('health', () => {
  test('is ok, with the health of each service, while all services are ready', async () => {
    const response = await fetch(`${gateway.url}/health`);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      status: 'ok',
      app: 'PromoPulse',
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      environment: 'test',
      services: Object.fromEntries(
        services.map((name) => [name, { status: 'ok', version: '1.2.3', breaker: 'closed' }]),
      ),
    });
  });

  test('is degraded, 503 with Retry-After, while a service is unreachable, not ready or silent; /live and /ready stay 200', async () => {
    gateway.promotions.handler = service({}, 503);
    gateway.subscriptions.handler = neverAnswer;
    await gateway.users.close();
    const started = performance.now();
    const response = await fetch(`${gateway.url}/health`);
    expect(performance.now() - started).toBeLessThan(3_000);
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('1');
    expect(await response.json()).toMatchObject({
      status: 'degraded',
      services: {
        users: { status: 'unreachable' },
        promotions: { status: 'not_ready', version: '1.2.3' },
        subscriptions: { status: 'unreachable' },
      },
    });
    expect((await fetch(`${gateway.url}/health/live`)).status).toBe(200);
    expect((await fetch(`${gateway.url}/health/ready`)).status).toBe(200);
  });

  test('is degraded, 200, while every service is ready and one of them says that it is degraded', async () => {
    const answer = gateway.promotions.handler;
    const report = { status: 'degraded', degraded: ['1 dead letter'], dead_letters: 1 };
    gateway.promotions.handler = (request, response) => {
      if (request.url === '/health') response.end(JSON.stringify(report));
      else answer(request, response);
    };
    const response = await fetch(`${gateway.url}/health`);
    expect(response.status).toBe(200);
    expect(response.headers.has('retry-after')).toBe(false);
    expect(await response.json()).toMatchObject({
      status: 'degraded',
      services: { users: { status: 'ok' }, promotions: report, subscriptions: { status: 'ok' } },
    });
    // Not ready is worse than degraded.
    gateway.promotions.handler = (request, response) => {
      if (request.url === '/health') response.end(JSON.stringify(report));
      else response.writeHead(503).end('{}');
    };
    const later = await fetch(`${gateway.url}/health`);
    expect(later.status).toBe(503);
    expect(await later.json()).toMatchObject({ services: { promotions: { ...report, status: 'not_ready' } } });
  });

  test('concurrent callers share one set of requests to the services', async () => {
    let requests = 0;
    const answer = gateway.users.handler;
    gateway.users.handler = (request, response) => {
      requests += 1;
      setTimeout(() => answer(request, response), 100);
    };
    await Promise.all(Array.from({ length: 20 }, () => fetch(`${gateway.url}/health`)));
    expect(requests).toBeLessThan(10);
  });
});

/** A public path of the stub of a service. */
const pathOf = (name: ServiceName): string => (name === 'engagement' ? '/statistics/{id}' : `/${name}/{id}`);
const keyPaths = ['/api-keys', '/api-keys/{id}', '/api-keys/{id}/rotate'];

describe('the document', () => {
  test('has the public paths of every service, the health of the gateway and the errors that the gateway adds', async () => {
    const document = await readDocument();
    const ofServices = services.map((name) => pathOf(name));
    expect(Object.keys(document.paths).sort()).toEqual([...keyPaths, '/health', ...ofServices].sort());
    expect(Object.keys(document.components.schemas)).toEqual(
      expect.arrayContaining(['Health', 'Problem', 'Promotions', 'Subscriptions', 'Users']),
    );
    const responses = responsesOf(document, '/users/{id}');
    expect(Object.keys(responses).join(' ')).toBe('200 400 404 412 413 415 429 500 503 504 default');
    expect(responses).toMatchObject({
      429: { $ref: '#/components/responses/TooManyRequests' },
      500: { $ref: '#/components/responses/InternalServerError' },
      503: { $ref: '#/components/responses/ReadUnavailable' },
      504: { $ref: '#/components/responses/ReadTimeout' },
      default: { $ref: '#/components/responses/Other' },
    });
    const { ReadUnavailable, ChangeUnavailable } = document.components.responses;
    expect(JSON.stringify(ReadUnavailable)).not.toContain('"outcome_unknown":'); // a read has no outcome
    expect(JSON.stringify(ChangeUnavailable)).toContain('"outcome_unknown":');
    for (const response of Object.values(document.components.responses)) {
      if ('headers' in response) expect(Object.keys(response.headers as object)).toContain('X-Request-Id');
    }
    expect(Object.keys(responsesOf(document, '/health'))).toEqual(['200', '400', '429', '500', '503', 'default']);
  });

  test('the examples of errors that belong to no operation are what the gateway answers', async () => {
    const { Other, BadRequest, ContentTooLarge } = (await readDocument()).components.responses as Record<string, Wire>;
    const examplesIn = (response: Wire) => response?.content['application/problem+json'].examples;
    const documented = { ...examplesIn(Other), ...examplesIn(BadRequest), ...examplesIn(ContentTooLarge) };
    const head = 'HTTP/1.1\r\nHost: gateway';
    const sent = {
      no_such_path: `GET /nowhere ${head}`,
      method_not_allowed: `POST /health ${head}`,
      expectation_failed: `GET /users ${head}\r\nExpect: much`,
      misdirected_request: `GET https://gateway/users ${head}`,
      headers_too_large: `GET /users ${head}\r\nX: ${'x'.repeat(20_000)}`,
      request_timeout: `GET /users ${head.slice(0, 15)}`,
      malformed_request: `GET /users%2f1 ${head}`,
      chunk_extensions_too_large: `POST /users ${head}\r\nTransfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(20_000)}`,
    };
    expect(Object.keys(sent)).toEqual(expect.arrayContaining(Object.keys(examplesIn(Other))));
    for (const [code, bytes] of Object.entries(sent)) {
      const isComplete = code !== 'request_timeout';
      const answer = await sendRaw(gateway.port, [isComplete ? `${bytes}\r\n\r\n` : bytes]);
      const { request_id: _id, ...answered } = JSON.parse(answer.body);
      const { request_id: _example, ...example } = documented[code].value;
      expect([code, example]).toEqual([code, answered]);
      expect([code, answer.status]).toEqual([code, example.status]);
    }
  }, 20_000);

  test('has a licence, a contact, a tag for each service, and a server', async () => {
    const { info, tags, servers } = await readDocument();
    expect(info).toMatchObject({ title: 'PromoPulse', license: { name: 'MIT' }, contact: expect.anything() });
    expect(tags).toEqual([
      ...services.map((name) => ({ name, description: `About ${name}` })),
      { name: 'Keys', description: expect.any(String) },
      { name: 'Gateway', description: expect.any(String) },
    ]);
    expect(servers).toMatchObject([{ url: '/' }]);
  });

  test('its server is the PUBLIC_URL, when there is one', () => {
    const serversFor = (publicUrl: string) => {
      return (mergeParts([], [], { version: '1.0.0', publicUrl }) as Document).servers;
    };
    expect(serversFor('https://api.example.com/promo')).toEqual([{ url: 'https://api.example.com/promo' }]);
    expect(serversFor('https://api.example.com/promo/')).toEqual([{ url: 'https://api.example.com/promo' }]);
  });

  test('what operations have in common is one component', async () => {
    const document = await readDocument();
    expect(document.components.responses.NotFound).toMatchObject({ description: 'no' });
    for (const name of services) {
      expect(responsesOf(document, pathOf(name))[404]).toEqual({ $ref: '#/components/responses/NotFound' });
    }
  });

  test('every reference in it has a target', async () => {
    const document = await readDocument();
    const text = JSON.stringify(document);
    const references = [...text.matchAll(/"\$ref":"#\/components\/(\w+)\/([^"]+)"/g)];
    expect(references.length).toBeGreaterThan(20);
    for (const [, kind, name] of references) expect(document.components).toHaveProperty([String(kind), String(name)]);
  });

  test('is unavailable until every service has been reached once', async () => {
    await gateway.users.close();
    const response = await fetch(`${gateway.url}/openapi.json`);
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('1');
    expect(response.headers.get('content-type')).toContain('application/problem+json');
    const users = await restart(gateway.users);
    users.handler = service(documentOf('users'));
    expect((await fetch(`${gateway.url}/openapi.json`)).status).toBe(200);
    await users.close();
  });

  test('keeps the part of a service that is no longer reachable', async () => {
    const { url } = gateway.users;
    const read = createDocumentSource([{ name: 'users', prefixes: ['/users'], url: '', internalUrl: url }], {
      version: '1.0.0',
      cacheMs: 0,
    });
    const before = await read();
    gateway.users.handler = service({}, 200, 500);
    expect(await read()).toEqual(before);
    await gateway.users.close();
    expect(await read()).toEqual(before);
    const users = await restart(gateway.users);
    users.handler = service({ ...documentOf('users'), paths: { '/users': {} } });
    expect(Object.keys(((await read()) as Document).paths)).toEqual(['/users', ...keyPaths, '/health']);
    await users.close();
  });

  test('is the same object while no service changes its part, so that it is not compressed again', async () => {
    const { url } = gateway.users;
    const upstream = { name: 'users', prefixes: ['/users'], url: '', internalUrl: url };
    const read = createDocumentSource([upstream], { version: '1.0.0', cacheMs: 0 });
    gateway.users.handler = service(documentOf('users'));
    const before = await read();
    expect(await read()).toBe(before);
    gateway.users.handler = service({ ...documentOf('users'), paths: { '/users': {} } });
    expect(await read()).not.toBe(before);
  });

  test('two different components with one name get two names, and references follow', () => {
    const part = (type: string) => ({
      tags: [],
      paths: { [`/${type}`]: { get: { responses: { 200: { $ref: '#/components/schemas/Item' } } } } },
      components: { schemas: { Item: { type }, Items: { items: { $ref: '#/components/schemas/Item' } } } },
    });
    const upstreams = ['a', 'b'].map((name) => ({ name, prefixes: [`/${name}`], url: '', internalUrl: '' }));
    const merged = mergeParts([part('string'), part('integer')], upstreams, { version: '1.0.0' }) as Document;
    expect(merged.components.schemas).toMatchObject({
      Item: { type: 'string' },
      Items: { items: { $ref: '#/components/schemas/Item' } },
      'b.Item': { type: 'integer' },
      'b.Items': { items: { $ref: '#/components/schemas/b.Item' } },
    });
    expect(responsesOf(merged, '/string')[200]).toEqual({ $ref: '#/components/schemas/Item' });
    expect(responsesOf(merged, '/integer')[200]).toEqual({ $ref: '#/components/schemas/b.Item' });
  });
});

describe('the docs page', () => {
  test('is at /docs with and without a slash, and the root redirects to it', async () => {
    const root = await fetch(gateway.url, { redirect: 'manual' });
    expect(root.status).toBe(302);
    expect(root.headers.get('location')).toBe('/docs');
    for (const path of ['/docs', '/docs/', '/docs?x=1']) {
      const response = await fetch(gateway.url + path);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-type')).toContain('text/html');
    }
  });

  test('loads only files of the gateway, under a policy that allows nothing else', async () => {
    const response = await fetch(`${gateway.url}/docs`);
    const page = await response.text();
    const policy = response.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).not.toMatch(/https?:|\*/);
    expect(page).not.toMatch(/<script(?! src=)|<style|style=|onload=/);
    const assets = assetsOf(page);
    expect(assets).toHaveLength(5);
    for (const asset of assets) {
      expect(asset).toMatch(/^\/docs\/[\w-]+\.[0-9a-f]{12}\.\w+$/);
      const loaded = await fetch(gateway.url + asset);
      expect([asset, loaded.status]).toEqual([asset, 200]);
      expect(loaded.headers.get('x-content-type-options')).toBe('nosniff');
      const text = await loaded.text();
      if (asset.endsWith('.css')) expect(text).not.toMatch(/url\(["']?(https?:)?\/\/|@import/);
      if (asset.includes('initializer')) {
        expect(text).toContain('tryItOutEnabled: true');
        expect(text).not.toMatch(/https?:/);
      }
    }
  });

  test('a browser keeps an asset by the hash of its content for a year, and the page and the document not at all', async () => {
    for (const path of ['/docs', '/openapi.json']) {
      expect((await fetch(gateway.url + path)).headers.get('cache-control')).toBe('no-store');
    }
    for (const asset of assetsOf(await (await fetch(`${gateway.url}/docs`)).text())) {
      const response = await fetch(gateway.url + asset);
      expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
      const content = Buffer.from(await response.arrayBuffer());
      expect(asset).toContain(`.${createHash('sha256').update(content).digest('hex').slice(0, 12)}.`);
      // The page of another release has another hash: its asset is served, but not kept under that hash.
      const other = await fetch(gateway.url + asset.replace(/\.[0-9a-f]{12}\./, '.0123456789ab.'));
      expect([asset, other.status, other.headers.get('cache-control')]).toEqual([asset, 200, 'no-store']);
    }
  });

  test('behind a path prefix, every URL of the page has it', async () => {
    const app = createApp().use(createDocsRoutes((request, path) => `/${request.headers['x-prefix']}${path}`));
    const timeouts = { keepAliveTimeoutMs: 100, headersTimeoutMs: 1_000, requestTimeoutMs: 1_000 };
    const server = await serve(app, { host: '127.0.0.1', port: 0, ...timeouts });
    const page = await (await fetch(`${server.url}/docs`, { headers: { 'x-prefix': 'promo' } })).text();
    await server.close(0);
    expect(page).toContain('data-prefix="/promo"');
    for (const asset of assetsOf(page)) expect(asset).toMatch(/^\/promo\/docs\//);
  });

  test('serves no other file of the package, and ignores conditions that need a date or a range', async () => {
    const [, stylesheet = ''] = /href="([^"]+)"/.exec(await (await fetch(`${gateway.url}/docs`)).text()) ?? [];
    for (const name of [
      'package.json',
      'swagger-ui.js',
      'swagger-ui.css',
      'index.html',
      'index.0123456789ab.html',
      'a/b',
    ]) {
      expect([name, (await fetch(`${gateway.url}/docs/${name}`)).status]).toEqual([name, 404]);
    }
    const conditions = {
      'If-Match': '*',
      Range: 'bytes=99999999-',
      'If-Unmodified-Since': new Date(0).toUTCString(),
    };
    expect((await fetch(gateway.url + stylesheet, { headers: conditions })).status).toBe(200);
  });

  test('has no entity tags: If-Match is 412 unless it is *, and no cache keeps that answer', async () => {
    const [, stylesheet = ''] = /href="([^"]+)"/.exec(await (await fetch(`${gateway.url}/docs`)).text()) ?? [];
    for (const path of ['/docs', stylesheet, '/openapi.json', '/health', '/health/live']) {
      const answer = await fetch(gateway.url + path, { headers: { 'If-Match': '"x"' } });
      expect([path, answer.status, answer.headers.get('cache-control')]).toEqual([path, 412, 'no-store']);
      expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
      expect(await answer.json()).toMatchObject({
        code: 'precondition_failed',
        detail:
          'The condition of If-Match is false: the resource that gets the request exists and has no entity tag. Nothing was changed.',
      });
      expect((await fetch(gateway.url + path, { headers: { 'If-Match': '*' } })).status).toBe(200);
      const malformed = await fetch(gateway.url + path, { headers: { 'If-Match': 'x' } });
      expect(await malformed.json()).toMatchObject({ status: 400, errors: [{ field: 'If-Match' }] });
    }
    const elsewhere = { headers: { 'If-Match': '"x"' }, redirect: 'manual' } as const;
    expect((await fetch(`${gateway.url}/nowhere`, elsewhere)).status).toBe(404);
    expect((await fetch(`${gateway.url}/`, elsewhere)).status).toBe(302);
    expect((await fetch(`${gateway.url}/docs`, { ...elsewhere, method: 'POST' })).status).toBe(405);
  });
});

test('the pages of the gateway, and their files, accept GET and HEAD; any other method is 405 with Allow', async () => {
  const assets = assetsOf(await (await fetch(`${gateway.url}/docs`)).text());
  const pages = ['/', '/health', '/health/live', '/health/ready', '/openapi.json', '/docs', '/docs/'];
  for (const path of [...pages, ...assets, '/docs/page.0123456789ab.css']) {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      if (method === 'OPTIONS' && path === '/') continue; // a health check
      const response = await fetch(gateway.url + path, { method });
      expect([method, path, response.status, response.headers.get('allow')]).toEqual([method, path, 405, 'GET, HEAD']);
      expect(await response.json()).toMatchObject({ code: 'method_not_allowed' });
    }
    const head = await fetch(gateway.url + path, { method: 'HEAD', redirect: 'manual' });
    expect([path, head.status]).toEqual([path, path === '/' ? 302 : 200]);
  }
});

test('a path that is no page is 404 for each method', async () => {
  for (const path of ['/nowhere', '/docs/nothing.css', '/docs/nothing.0123456789ab.css', '/docs/a/b', '/health/x']) {
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const { status, headers } = await fetch(gateway.url + path, { method });
      expect([method, path, status, headers.get('allow')]).toEqual([method, path, 404, null]);
    }
  }
});

test('every page of the gateway has the security headers', async () => {
  for (const path of ['/', '/health', '/openapi.json', '/docs', '/nowhere']) {
    const { headers } = await fetch(gateway.url + path, { redirect: 'manual' });
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-frame-options')).toBe('DENY');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.get('x-powered-by')).toBeNull();
    expect(headers.get('x-request-id')).not.toBeNull();
  }
});

/** The URLs of scripts, styles and images. */
function assetsOf(page: string): string[] {
  return [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url]) => String(url));
}

interface Document {
  info: object;
  tags: object[];
  servers: object[];
  paths: Record<string, { get?: { responses: Record<string, unknown> } }>;
  components: { schemas: Record<string, unknown>; responses: Record<string, object> };
}

function responsesOf(document: Document, path: string): Record<string, unknown> {
  return document.paths[path]?.get?.responses ?? {};
}

async function readDocument(): Promise<Document> {
  const response = await fetch(`${gateway.url}/openapi.json`);
  expect(response.status).toBe(200);
  return (await response.json()) as Document;
}

/** A service with a health and a document. */
function service(document: object, readyStatus = 200, documentStatus = 200): RequestListener {
  return (request, response) => {
    response.setHeader('Content-Type', 'application/json');
    if (request.url === '/health') response.end('{"status":"ok","version":"1.2.3"}');
    else if (request.url === '/health/ready') response.writeHead(readyStatus).end('{"status":"ok"}');
    else if (request.url === '/openapi.json') response.writeHead(documentStatus).end(JSON.stringify(document));
    else response.end('{"ok":true}');
  };
}

function documentOf(name: ServiceName): object {
  const schema = `${name[0]?.toUpperCase()}${name.slice(1)}`;
  const get = {
    tags: [name],
    summary: `One of ${name}`,
    responses: {
      200: {
        description: 'ok',
        content: { 'application/json': { schema: { $ref: `#/components/schemas/${schema}` } } },
      },
      404: {
        description: 'no',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  };
  return {
    openapi: '3.1.1',
    info: { title: name, version: '1.0.0' },
    tags: [{ name, description: `About ${name}` }],
    paths: { [pathOf(name)]: { get }, '/health': { get }, [`/internal/${name}`]: { get } },
    components: { schemas: { [schema]: { type: 'object' } } }, // the gateway's own part has Problem
  };
}

function restart(stub: StubService): Promise<StubService> {
  return startStubService(stub.handler, Number(new URL(stub.url).port));
}
