// The gateway's own pages: health, the OpenAPI document, the docs page, and errors on their paths.
import type { RequestListener } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createDocumentSource, mergeParts } from '../src/pages/openapi.ts';
import { neverAnswer, type StubService, startStubService, startTestGateway, type TestGateway } from './stubs.ts';

let gateway: TestGateway;

beforeEach(async () => {
  gateway = await startTestGateway({ ENVIRONMENT: 'test' });
  gateway.users.handler = service(documentOf('users'));
  gateway.promotions.handler = service(documentOf('promotions'));
  gateway.subscriptions.handler = service(documentOf('subscriptions'));
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
      services: {
        users: { status: 'ok', version: '1.2.3', breaker: 'closed' },
        promotions: { status: 'ok', version: '1.2.3', breaker: 'closed' },
        subscriptions: { status: 'ok', version: '1.2.3', breaker: 'closed' },
      },
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

describe('the document', () => {
  test('has the public paths of every service, the health of the gateway and the errors that the gateway adds', async () => {
    const document = await readDocument();
    expect(Object.keys(document.paths).sort()).toEqual([
      '/health',
      '/promotions/{id}',
      '/subscriptions/{id}',
      '/users/{id}',
    ]);
    expect(Object.keys(document.components.schemas).sort()).toEqual([
      'Problem',
      'Promotions',
      'Subscriptions',
      'Users',
    ]);
    const responses = responsesOf(document, '/users/{id}');
    expect(Object.keys(responses)).toEqual(['200', '400', '404', '413', '503', '504']);
    expect(responses[503]).toHaveProperty('headers.Retry-After');
    expect(JSON.stringify(responses)).not.toContain('outcome_unknown'); // a read has no outcome
    expect(document.components.schemas.Problem).toEqual({ type: 'object', title: 'of the services' });
    expect(Object.keys(responsesOf(document, '/health'))).toEqual(['200', '503']);
  });

  test('every reference in it has a target', async () => {
    const document = await readDocument();
    const text = JSON.stringify(document);
    const references = [...text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => String(name));
    expect(references.length).toBeGreaterThan(5);
    for (const name of references) expect(document.components.schemas).toHaveProperty([name]);
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
    const read = createDocumentSource([{ name: 'users', prefixes: ['/users'], url: '', internalUrl: url }], '1.0.0', 0);
    const before = await read();
    gateway.users.handler = service({}, 200, 500);
    expect(await read()).toEqual(before);
    await gateway.users.close();
    expect(await read()).toEqual(before);
    const users = await restart(gateway.users);
    users.handler = service({ ...documentOf('users'), paths: { '/users': {} } });
    expect(Object.keys(((await read()) as Document).paths)).toEqual(['/users', '/health']);
    await users.close();
  });

  test('two different components with one name get two names, and references follow', () => {
    const part = (type: string) => ({
      paths: { [`/${type}`]: { get: { responses: { 200: { $ref: '#/components/schemas/Item' } } } } },
      components: { schemas: { Item: { type }, Items: { items: { $ref: '#/components/schemas/Item' } } } },
    });
    const upstreams = ['a', 'b'].map((name) => ({ name, prefixes: [`/${name}`], url: '', internalUrl: '' }));
    const merged = mergeParts([part('string'), part('integer')], upstreams, '1.0.0') as Document;
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
    const assets = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url]) => String(url));
    expect(assets).toHaveLength(4);
    for (const asset of assets) {
      expect(asset).toMatch(/^\/docs\/[\w.-]+$/);
      const loaded = await fetch(gateway.url + asset);
      expect([asset, loaded.status]).toEqual([asset, 200]);
      expect(loaded.headers.get('x-content-type-options')).toBe('nosniff');
      const text = await loaded.text();
      if (asset.endsWith('.css')) expect(text).not.toMatch(/url\(["']?(https?:)?\/\/|@import/);
      if (asset.endsWith('initializer.js')) {
        expect(text).toContain("url: '/openapi.json'");
        expect(text).toContain('tryItOutEnabled: true');
        expect(text).not.toMatch(/https?:/);
      }
    }
  });

  test('serves no other file of the package, and ignores conditional headers', async () => {
    for (const path of ['/docs/package.json', '/docs/swagger-ui.js', '/docs/index.html', '/docs/a/b']) {
      expect((await fetch(gateway.url + path)).status).toBe(404);
    }
    const conditions = {
      'If-Match': '"x"',
      Range: 'bytes=99999999-',
      'If-Unmodified-Since': new Date(0).toUTCString(),
    };
    expect((await fetch(`${gateway.url}/docs/swagger-ui.css`, { headers: conditions })).status).toBe(200);
  });
});

test('the pages of the gateway accept GET and HEAD; any other method is 405 with Allow', async () => {
  for (const path of ['/', '/health', '/health/live', '/health/ready', '/openapi.json', '/docs']) {
    const response = await fetch(gateway.url + path, { method: 'POST', body: '{}' });
    expect([path, response.status, response.headers.get('allow')]).toEqual([path, 405, 'GET, HEAD']);
    expect(await response.json()).toMatchObject({ code: 'method_not_allowed' });
    const head = await fetch(gateway.url + path, { method: 'HEAD', redirect: 'manual' });
    expect([path, head.status]).toEqual([path, path === '/' ? 302 : 200]);
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

interface Document {
  paths: Record<string, { get?: { responses: Record<string, unknown> } }>;
  components: { schemas: Record<string, unknown> };
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

function documentOf(name: string): object {
  const schema = `${name[0]?.toUpperCase()}${name.slice(1)}`;
  const get = {
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
    paths: { [`/${name}/{id}`]: { get }, '/health': { get }, [`/internal/${name}`]: { get } },
    components: { schemas: { [schema]: { type: 'object' }, Problem: { type: 'object', title: 'of the services' } } },
  };
}

function restart(stub: StubService): Promise<StubService> {
  return startStubService(stub.handler, Number(new URL(stub.url).port));
}
