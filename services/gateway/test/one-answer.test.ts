// However a request goes on after its answer has begun, it has one answer.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { answersIn, exchangeRaw } from '@promopulse/testing/raw-connection';
import { type AskingGateway, startAskingGateway } from './asking-gateway.ts';
import { answerOk } from './stubs.ts';

const end = '\r\n\r\n';
let gateway: AskingGateway;
beforeAll(async () => {
  gateway = await startAskingGateway({ REQUEST_TIMEOUT_MS: '2000', HEADERS_TIMEOUT_MS: '1000', MAX_BODY_BYTES: '100' });
});
afterAll(() => gateway.close());

const chunked = (path: string, ...lines: string[]) =>
  `POST ${path} HTTP/1.1\r\n${['Host: gateway', 'Transfer-Encoding: chunked', ...lines].join('\r\n')}${end}`;
const statusesOf = async (...parts: string[]) =>
  answersIn(await exchangeRaw(gateway.url, ...parts)).map(({ status }) => status);

test.each([
  ['401', 401, () => chunked('/users')],
  ['404', 404, () => chunked('/nowhere', `Authorization: Bearer ${gateway.firstKey}`)],
  ['413', 413, () => `${chunked('/users', `Authorization: Bearer ${gateway.firstKey}`)}100\r\n${'a'.repeat(256)}\r\n`],
])('after an early %s, the rest of the body gets no second answer', async (_title, status, head) => {
  expect(await statusesOf(head(), 'ZZ\r\n')).toEqual([status]); // malformed
  expect(await statusesOf(head())).toEqual([status]); // too slow
});

test('a malformed request behind one that was answered has an answer of its own', async () => {
  const whole = `GET /users/1 HTTP/1.1\r\nHost: gateway${end}`;
  expect(await statusesOf(whole, 'GET /\x01 HTTP/1.1\r\n')).toEqual([401, 400]);
  expect(await statusesOf(`${whole}GET /\x01 HTTP/1.1\r\n`)).toEqual([401, 400]);
  const ended = `${chunked('/users')}0${end}`;
  expect(await statusesOf(`${ended}GET /\x01 HTTP/1.1\r\n`)).toEqual([401, 400]);
});

test('a chunk that is malformed before the answer is answered with 400', async () => {
  gateway.users.handler = (request, response) => void request.resume().on('end', () => answerOk(request, response));
  expect(await statusesOf(`${chunked('/users', `Authorization: Bearer ${gateway.firstKey}`)}ZZ\r\n`)).toEqual([400]);
});
