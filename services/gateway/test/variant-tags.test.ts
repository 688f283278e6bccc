// The promise: a strong entity tag names one representation. A compressed body has the tag of its service with a suffix,
// and every request may send it back.
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { startTestGateway, type TestGateway } from './stubs.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
});
afterAll(() => gateway.close());

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** Unlike `fetch`, it decompresses nothing and sends only the headers that are given. */
function send(method: string, headers: Record<string, string | string[]> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    httpRequest(`${gateway.url}/users/1`, { method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({ status: Number(response.statusCode), headers: response.headers, body: Buffer.concat(chunks) }),
      );
    })
      .on('error', reject)
      .end();
  });
}
const get = (headers: Record<string, string | string[]> = {}) => send('GET', headers);
const sentOn = () => gateway.users.received.at(-1)?.headers;

const long = Buffer.from(JSON.stringify({ description: 'Get 20% off. '.repeat(200) }));
/** A service whose resource has this tag: 304 when If-None-Match has it, and no suffix is known here. */
function serve(tag: string, body = long): void {
  gateway.users.handler = (request, response) => {
    const { 'if-none-match': noneMatch } = request.headers;
    const isSame = noneMatch?.split(', ').some((each) => each.replace('W/', '') === tag.replace('W/', ''));
    if (isSame) response.writeHead(304, { ETag: tag }).end();
    else {
      const headers = { 'Content-Type': 'application/json; charset=utf-8', 'Content-Length': body.length, ETag: tag };
      response.writeHead(200, headers).end(body);
    }
  };
}
beforeEach(() => serve('"7"'));

describe('a compressed body', () => {
  test.each(['gzip', 'br'])('of %s has a tag of its own, which is strong, and so has HEAD', async (coding) => {
    for (const method of ['GET', 'HEAD']) {
      const { headers } = await send(method, { 'Accept-Encoding': coding });
      expect(headers).toMatchObject({ 'content-encoding': coding, etag: `"7-${coding}"`, vary: 'Accept-Encoding' });
    }
  });

  test('in parts has it too, and its bytes are those of the service', async () => {
    serve('"7"', Buffer.from(JSON.stringify('x'.repeat(100_000))));
    const answer = await get({ 'Accept-Encoding': 'gzip' });
    expect([answer.headers.etag, gunzipSync(answer.body).length]).toEqual(['"7-gzip"', 100_002]);
  });

  test('of a weak tag keeps it: it does not name bytes', async () => {
    serve('W/"7"');
    expect((await get({ 'Accept-Encoding': 'gzip' })).headers).toMatchObject({
      'content-encoding': 'gzip',
      etag: 'W/"7"',
    });
  });
});

test('a body that goes out as it is has the tag of its service: small, unwanted, or not to be transformed', async () => {
  expect((await get()).headers.etag).toBe('"7"');
  expect((await get({ 'Accept-Encoding': 'gzip', 'Cache-Control': 'no-transform' })).headers.etag).toBe('"7"');
  serve('"7"', Buffer.from('{"id":1}'));
  expect((await get({ 'Accept-Encoding': 'gzip' })).headers.etag).toBe('"7"');
});

describe('a client that has the version', () => {
  test.each(['gzip', 'br'])('in %s gets 304 with the tag that it has, and no body', async (coding) => {
    for (const method of ['GET', 'HEAD']) {
      for (const value of [`"7-${coding}"`, `"6", "7-${coding}"`, `W/"7-${coding}"`]) {
        const answer = await send(method, {
          'Accept-Encoding': coding,
          'If-None-Match': value,
        });
        expect([answer.status, answer.body.length, answer.headers.etag]).toEqual([304, 0, `"7-${coding}"`]);
        expect(answer.headers).toMatchObject({ vary: 'Accept-Encoding', 'cache-control': 'no-store' });
        expect(answer.headers).not.toHaveProperty('content-encoding');
      }
    }
  });

  test('as it is gets 304 with the plain tag', async () => {
    for (const headers of [{}, { 'Accept-Encoding': 'gzip' }]) {
      const answer = await get({ ...headers, 'If-None-Match': '"7"' });
      expect([answer.status, answer.headers.etag]).toEqual([304, '"7"']);
    }
  });

  test('in a coding that it does not accept now gets the whole body', async () => {
    for (const headers of [{}, { 'Accept-Encoding': 'br' }, { 'Accept-Encoding': 'gzip;q=0' }]) {
      const answer = await get({ ...headers, 'If-None-Match': '"7-gzip"' });
      expect([answer.status, sentOn()?.['if-none-match']]).toEqual([200, '"7-gzip"']);
    }
  });

  test('of another version gets the whole body', async () => {
    const { status, headers } = await get({ 'Accept-Encoding': 'gzip', 'If-None-Match': '"6-gzip", "8"' });
    expect([status, headers.etag]).toEqual([200, '"7-gzip"']);
  });
});

describe('a change', () => {
  test.each([
    ['"7-gzip"', '"7"'],
    ['"7-br"', '"7"'],
    ['"6", "7-br", W/"8-gzip"', '"6", "7", W/"8"'],
    ['"7"', '"7"'],
    ['*', '*'],
    ['"7-zip", "gzip-7", "-gz"', '"7-zip", "gzip-7", "-gz"'],
  ])('with If-Match: %s means the version, whatever the coding is now: its service gets %s', async (sent, received) => {
    for (const headers of [{}, { 'Accept-Encoding': 'gzip' }, { 'Accept-Encoding': 'identity' }]) {
      await send('PATCH', { ...headers, 'If-Match': sent });
      expect(sentOn()?.['if-match']).toBe(received);
    }
  });

  test('with If-None-Match means the version as well', async () => {
    await send('PATCH', { 'If-None-Match': ['"7-gzip"', '"8-br"'] });
    expect(sentOn()?.['if-none-match']).toBe('"7", "8"');
  });
});
