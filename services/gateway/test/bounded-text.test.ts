// What the gateway itself asks for is measured while it arrives: no server fills the memory of the gateway.
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { eventually } from '@promopulse/testing/eventually';
import { ProviderKeys } from '../src/callers/provider-keys.ts';
import { readBoundedText } from '../src/proxy/bounded-text.ts';
import { fetchPage } from '../src/proxy/upstreams.ts';

let server: Server | undefined;
afterEach(async () => {
  server?.closeAllConnections();
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)));
  server = undefined;
});

async function serve(handler: RequestListener): Promise<string> {
  server = createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Answers with JSON that does not end, until the client closes the connection. */
function startEndless(): { handler: RequestListener; closed: Promise<unknown> } {
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const part = `"${'x'.repeat(65_536)}",`;
  const handler: RequestListener = (_request, response) => {
    const write = (): void => {
      while (!response.destroyed && response.write(part));
    };
    response.on('close', resolve).on('drain', write).writeHead(200, { 'content-type': 'application/json' });
    response.write('[');
    write();
  };
  return { handler, closed };
}

test('a text of the maximum size is read, also with a character that is split between two chunks', async () => {
  const bytes = Buffer.from('key: ü');
  const url = await serve(async (_request, response) => {
    response.write(bytes.subarray(0, 6));
    response.end(bytes.subarray(6));
  });
  expect(await readBoundedText(await fetch(url), bytes.length)).toBe('key: ü');
  expect(await readBoundedText(new Response(null), 0)).toBe('');
});

test('one byte more is an error', async () => {
  const read = readBoundedText(new Response('12345'), 4);
  await expect(read).rejects.toMatchObject({ code: 'DOCUMENT_TOO_LARGE' });
});

test('keys of a provider that never end: the connection is closed, and the log says why', async () => {
  const { handler, closed } = startEndless();
  const url = await serve(handler);
  const lines: string[] = [];
  const log = createLogger({ service: 'test', level: 'warn', destination: { write: (line) => void lines.push(line) } });
  const keys = new ProviderKeys({ issuer: url, jwksUrl: `${url}/keys`, log });
  keys.start();
  try {
    await closed;
    await eventually(() => expect(lines.join('')).toContain('DOCUMENT_TOO_LARGE'));
  } finally {
    keys.stop();
  }
});

test('a page of a service that never ends: the connection is closed, and there is no page', async () => {
  const { handler, closed } = startEndless();
  const url = await serve(handler);
  const upstream = { name: 'users', prefixes: ['/users'], url, internalUrl: url };
  expect(await fetchPage(upstream, '/health', 60_000)).toBeUndefined(); // by its size, and not by the time
  await closed;
});
