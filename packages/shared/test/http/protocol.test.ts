// Which protocol a request is in, also of many in one packet.
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { isProtocolSupported, watchProtocol } from '../../src/http/unparsed/protocol.ts';

let server: Server;
let packetsRead: number;
beforeEach(async () => {
  packetsRead = 0;
  server = createServer((request, response) => {
    response.end(isProtocolSupported(request) ? ' yes ' : ' no ');
  });
  watchProtocol(server);
  server.on('connection', (socket) => {
    const { parser } = socket as unknown as { parser: { getCurrentBuffer(): Buffer } };
    const read = parser.getCurrentBuffer.bind(parser);
    parser.getCurrentBuffer = () => {
      packetsRead += 1;
      return read();
    };
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** Sends requests in one packet. @returns for each whether its protocol is supported */
async function send(...requests: string[]): Promise<string[]> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const last = 'GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
  socket.write([...requests.map((line) => `${line}\r\nHost: a\r\nContent-Length: 0\r\n\r\n`), last].join(''));
  let text = '';
  for await (const chunk of socket) text += chunk;
  return [...text.matchAll(/ (yes|no) /g)].map(([, answer]) => String(answer)).slice(0, -1);
}

describe('RTSP is told from HTTP', () => {
  test.each([
    ['alone', ['GET /users RTSP/1.1'], ['no']],
    ['behind a shorter request', ['GET /a HTTP/1.1', 'POST /users RTSP/1.1'], ['yes', 'no']],
    ['behind a request of the same length', ['GET /users/1 HTTP/1.1', 'GET /users/2 RTSP/1.1'], ['yes', 'no']],
    ['behind a method that RTSP does not have', ['PUT /users/1 HTTP/1.1', 'GET /users/2 RTSP/1.1'], ['yes', 'no']],
    ['in front of HTTP', ['GET /users/1 RTSP/1.1', 'GET /users/2 HTTP/1.1'], ['no', 'yes']],
    ['by its first line only', ['GET /RTSP/1.1 HTTP/1.1', 'GET /a?RTSP/ HTTP/1.1'], ['yes', 'yes']],
  ])('%s', async (_where, requests, expected) => {
    expect(await send(...requests)).toEqual(expected);
  });
});

test('a packet is copied once, however many requests are in it', async () => {
  const requests = Array.from({ length: 200 }, (_, index) => `GET /${'a'.repeat(index % 7)} HTTP/1.1`);
  expect(new Set(await send(...requests))).toEqual(new Set(['yes']));
  // 13 KB are in one packet of the loopback interface, as a rule.
  expect(packetsRead).toBeGreaterThan(0);
  expect(packetsRead).toBeLessThan(20);
});
