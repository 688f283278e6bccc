// Real clients: httpyac, which reads the syntax of the HTTP clients of VS Code and JetBrains, sends requests.http, and
// Postman's own converter imports the OpenAPI document. Runs with TEST_HTTP_CLIENTS, the folder of both (.ci/http-clients).
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { client } from '@promopulse/testing/client';
import { readExample, readHttpFile } from './support/examples.ts';
import { type RunningStack, startFreshStack } from './support/stack.ts';

interface Sent {
  title: string;
  response: { statusCode: number; body: string };
}

/** An item of a Postman collection: a folder, or a request. */
interface Item {
  item?: Item[];
  request?: { method: string; url: { path: string[] } };
}
interface Converter {
  convert(
    input: { type: 'string'; data: string },
    options: object,
    done: (error: unknown, result: { result: boolean; reason?: string; output: { data: Item }[] }) => void,
  ): void;
}

const clients = resolve(String(process.env.TEST_HTTP_CLIENTS), 'node_modules');
let stack: RunningStack;
const folder = mkdtempSync(join(tmpdir(), 'promopulse-http-file-'));
beforeAll(async () => {
  stack = await startFreshStack('memory');
}, 60_000);
afterAll(async () => {
  await stack?.close();
  rmSync(folder, { recursive: true, force: true });
});

test('httpyac sends every request of requests.http, and each gets the answer that the file expects', async () => {
  const file = join(folder, 'requests.http');
  writeFileSync(file, readExample('requests.http').replace(/^@base = .*$/m, `@base = ${stack.url}`));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [join(clients, '.bin/httpyac'), 'send', 'requests.http', '--all', '--json'],
    { cwd: folder, maxBuffer: 2 ** 24 }, // it refuses a file outside of its folder
  );
  const sent: Sent[] = JSON.parse(stdout).requests;
  const steps = readHttpFile('requests.http');
  const answers = sent.map(({ title, response }) => [title, response.statusCode, JSON.parse(response.body)]);
  expect(answers).toEqual(
    steps.map(({ title, expect: { status, body } }) => [title, status, expect.objectContaining(body)]),
  );
  expect(sent.length).toBeGreaterThan(16);
}, 60_000);

test('Postman imports the document: each of its operations becomes a request', async () => {
  const { body: document } = await client(stack.url).get('/openapi.json');
  const { convert }: Converter = createRequire(import.meta.url)(join(clients, 'openapi-to-postmanv2'));
  const collection = await new Promise<Item>((resolve, reject) =>
    convert({ type: 'string', data: JSON.stringify(document) }, { folderStrategy: 'Tags' }, (error, converted) =>
      converted?.result ? resolve(converted.output[0]?.data ?? {}) : reject(error ?? new Error(converted?.reason)),
    ),
  );
  const requests = requestsOf(collection).map(({ method, url }) => `${method} /${url.path.join('/')}`);
  const operations = Object.entries(document.paths as Record<string, object>).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  );
  expect(requests.sort()).toEqual(operations.sort());
});

function requestsOf({ item = [], request }: Item): NonNullable<Item['request']>[] {
  return request ? [request] : item.flatMap(requestsOf);
}
