// What connection.ts relies on in amqplib and does not find in its documentation. An upgrade of amqplib that changes it
// fails here.
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createCertificateAuthority } from '@promopulse/testing/certificates';
import { eventually } from '@promopulse/testing/eventually';
import { startTlsProxy, type TlsProxy } from '@promopulse/testing/tls-proxy';
import { openConnection } from '../../src/messaging/rabbitmq/connection.ts';
import { connectArguments, type RabbitEndpoint } from '../../src/messaging/rabbitmq/endpoint.ts';
import { amqpUrl } from './transports.ts';

const authority = createCertificateAuthority();
let proxy: TlsProxy;
beforeAll(async () => {
  proxy = await startTlsProxy(amqpUrl(), authority.issue({ name: 'mq', hosts: ['localhost'] }));
});
afterAll(() => proxy?.close());

const endpoints: [name: string, endpoint: () => RabbitEndpoint][] = [
  ['amqp://', () => ({ url: amqpUrl() })],
  ['amqps://', () => ({ url: proxy.url, tls: { ca: authority.cert } })],
];

describe.each(endpoints)('over %s', (name, endpoint) => {
  test('`connection.stream` is the socket, and the frames of one turn leave in one write', async () => {
    const lifetime = new AbortController();
    const model = await openConnection(endpoint(), 'test', lifetime);
    const { stream } = (model as unknown as { connection: { stream: Socket } }).connection;
    expect(stream instanceof TLSSocket).toBe(name === 'amqps://');
    const channel = await model.createConfirmChannel();
    const sizes: number[] = [];
    const writev = stream._writev?.bind(stream);
    const write = stream._write.bind(stream);
    stream._writev = (chunks, done) => {
      sizes.push(chunks.length);
      writev?.(chunks, done);
    };
    stream._write = (chunk, encoding, done) => {
      sizes.push(1);
      write(chunk, encoding, done);
    };
    for (let count = 0; count < 100; count += 1) channel.publish('', 'no such queue', Buffer.from('{}'));
    await channel.waitForConfirms();
    expect(sizes).toEqual([expect.any(Number)]);
    expect(sizes[0]).toBeGreaterThanOrEqual(100);
    await model.close();
  });

  test('`signal` among the socket options ends a connection whose server never answers', async () => {
    const open = new Set<Socket>();
    const silent = createServer((socket) => {
      open.add(socket);
      socket.on('error', () => undefined).on('close', () => open.delete(socket));
      socket.resume();
    });
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    const { tls } = endpoint();
    const lifetime = new AbortController();
    const opening = openConnection({ url: `${name}127.0.0.1:${port}`, ...(tls && { tls }) }, 'test', lifetime);
    const rejected = expect(opening).rejects.toThrow();
    await eventually(() => expect(open.size).toBe(1));
    lifetime.abort(new Error('too late'));
    await rejected;
    await eventually(() => expect(open.size).toBe(0));
    silent.close();
  });
});

test('`credentials` among the socket options replace those of the URL, which amqplib decodes as Latin-1', () => {
  const [, options] = connectArguments({ url: 'amqp://%C3%BCser:p%C3%A4ss@host' });
  const { username, password } = options.credentials as { username: string; password: string };
  expect([username, password]).toEqual(['üser', 'päss']);
});
