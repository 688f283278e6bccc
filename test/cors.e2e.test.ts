// CORS in a real browser: pages of two other origins, of which the gateway allows one.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Browser, chromium, type Page } from 'playwright-core';
import { freePort } from '../local/ports.ts';
import { findChromium } from './support/chromium.ts';
import { type RunningStack, startFreshStack } from './support/stack.ts';

let stack: RunningStack;
let browser: Browser;
let allowed: Page;
let foreign: Page;
const servers: Server[] = [];

async function servePage(port = 0): Promise<string> {
  const server = createServer((_request, response) => void response.setHeader('Content-Type', 'text/html').end('page'));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

beforeAll(async () => {
  const executablePath = await findChromium();
  const origin = await servePage(await freePort());
  stack = await startFreshStack('memory', { CORS_ORIGINS: origin });
  browser = await chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'],
  });
  const open = async (url: string): Promise<Page> => {
    const page = await browser.newPage();
    await page.goto(url);
    return page;
  };
  [allowed, foreign] = [await open(origin), await open(await servePage())];
}, 300_000);
afterAll(async () => {
  await browser?.close();
  await stack?.close();
  for (const server of servers) server.close();
});

interface Seen {
  status?: number;
  headers?: Record<string, string>;
  body?: string;
  /** What `fetch` threw. */
  error?: string;
}

/** What a script of the page sees. */
function fetchIn(page: Page, path: string, init: object = {}): Promise<Seen> {
  return page.evaluate(
    async ([url, options]) => {
      try {
        const response = await fetch(url as string, options as object);
        const headers = Object.fromEntries([...response.headers] as [string, string][]);
        return { status: response.status, headers, body: await response.text() };
      } catch (error) {
        return { error: String(error) };
      }
    },
    [stack.url + path, init],
  );
}

let keys = 0;
const json = () => {
  keys += 1;
  return { 'Content-Type': 'application/json', 'X-Request-Id': 'from-the-page', 'Idempotency-Key': `k-${keys}` };
};
const user = (email: string) => JSON.stringify({ first_name: 'Ada', last_name: 'L', email });

test('a page of an allowed origin creates, reads, changes, and sees the headers', async () => {
  const created = await fetchIn(allowed, '/users', { method: 'POST', headers: json(), body: user('a@example.com') });
  expect(created.status).toBe(201);
  expect(created.headers).toMatchObject({ location: '/users/1', 'x-request-id': 'from-the-page' });
  expect(JSON.parse(String(created.body))).toMatchObject({ id: 1 });
  const read = await fetchIn(allowed, '/users/1');
  expect([read.status, read.headers?.['x-request-id']]).toEqual([200, expect.any(String)]);
  const changed = await fetchIn(allowed, '/users/1', { method: 'PATCH', headers: json(), body: '{"last_name":"M"}' });
  expect(changed.status).toBe(200);
  const repeated = { method: 'PATCH', headers: { ...json(), 'Idempotency-Key': 'k-2' }, body: '{"last_name":"M"}' };
  expect((await fetchIn(allowed, '/users/1', repeated)).headers?.['idempotent-replayed']).toBe('true');
  const dates = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
  const promotion = { method: 'POST', headers: json(), body: JSON.stringify({ name: 'Sale', ...dates }) };
  expect((await fetchIn(allowed, '/promotions', promotion)).status).toBe(201);
  const status = { method: 'POST', headers: json(), body: '{"status":"active"}' };
  const activated = await fetchIn(allowed, '/promotions/1/status', status);
  expect(activated.headers?.['promopulse-projection']).toMatch(/^(applied|pending)$/);
});

test('it edits with the entity tag of what it has read, in the coding of the browser: once 200, then 412', async () => {
  const text = 'Get 20% off. '.repeat(200);
  const dates = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
  const body = JSON.stringify({ name: 'Long', description: text, ...dates });
  const made = await fetchIn(allowed, '/promotions', { method: 'POST', headers: json(), body });
  const path = String(made.headers?.['content-location']);
  const read = await fetchIn(allowed, path);
  const tag = String(read.headers?.etag);
  expect([read.status, tag]).toEqual([200, expect.stringMatching(/^"1-(br|gzip)"$/)]);
  const edit = () => ({ method: 'PATCH', headers: { ...json(), 'If-Match': tag }, body: '{"name":"Short"}' });
  expect((await fetchIn(allowed, path, edit())).status).toBe(200);
  const lost = await fetchIn(allowed, path, edit());
  expect([lost.status, lost.headers?.etag]).toEqual([412, '"2"']);
});

test('it can read errors, of a service and of the gateway', async () => {
  const conflict = await fetchIn(allowed, '/users', { method: 'POST', headers: json(), body: user('A@example.com') });
  expect([conflict.status, JSON.parse(String(conflict.body)).code]).toEqual([409, 'email_taken']);
  const tooLarge = await fetchIn(allowed, '/users', { method: 'POST', headers: json(), body: 'x'.repeat(70_000) });
  expect([tooLarge.status, JSON.parse(String(tooLarge.body)).code]).toEqual([413, 'body_too_large']);
  const wrongMethod = await fetchIn(allowed, '/users/1', { method: 'DELETE' });
  expect([wrongMethod.status, wrongMethod.headers?.allow]).toEqual([405, expect.stringContaining('PATCH')]);
});

test('a page of another origin can read nothing, and cannot send what needs a preflight', async () => {
  expect(await fetchIn(foreign, '/users/1')).toEqual({ error: 'TypeError: Failed to fetch' });
  const post = { method: 'POST', headers: json(), body: user('b@example.com') };
  expect(await fetchIn(foreign, '/users', post)).toEqual({ error: 'TypeError: Failed to fetch' });
  const found = await fetchIn(allowed, '/users?email=b@example.com');
  expect(JSON.parse(String(found.body))).toMatchObject({ total: 0 });
});

/** Every page may read these (the Fetch standard, 2.2.2). */
const alwaysExposed = [
  ...['cache-control', 'content-language', 'content-length', 'content-type'],
  ...['expires', 'last-modified', 'pragma'],
];

interface Document {
  paths: Record<string, Record<string, Responses>>;
  components: Responses;
}
interface Responses {
  responses?: Record<string, { headers?: object }>;
}

test('every header that the OpenAPI document declares for a response can be read', async () => {
  const { headers } = await fetch(`${stack.url}/users/1`, { headers: { Origin: new URL(allowed.url()).origin } });
  const exposed = String(headers.get('access-control-expose-headers')).toLowerCase().split(',');
  const document = (await (await fetch(`${stack.url}/openapi.json`)).json()) as Document;
  const places = [...Object.values(document.paths).flatMap((item) => Object.values(item)), document.components];
  const declared = places
    .flatMap(({ responses }) => Object.values(responses ?? {}))
    .flatMap((response) => Object.keys(response.headers ?? {}));
  expect(declared).toContain('Retry-After');
  const readable = [...exposed, ...alwaysExposed];
  expect(declared.filter((name) => !readable.includes(name.toLowerCase()))).toEqual([]);
});
