// How much the gateway takes on: places at each service, connections, and what one connection may ask at a time.
import type { RequestListener } from 'node:http';
import { connect, type Socket } from 'node:net';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { answerOk, hang, type Mesh, pause, startMesh, until } from './stubs.ts';
import { sendRaw } from './wire.ts';

const maxInFlight = 5;
let gateway: Mesh;
const sockets: Socket[] = [];

beforeEach(async () => {
  gateway = await startMesh({
    MAX_IN_FLIGHT: String(maxInFlight),
    UPSTREAM_TIMEOUT_MS: '20000',
    BREAKER_MIN_CALLS: '3',
  });
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await gateway.close();
});

function open(text: string): Socket {
  const socket = connect(gateway.port, '127.0.0.1').on('error', () => {});
  sockets.push(socket);
  socket.write(text);
  return socket;
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: gateway\r\n\r\n`;

/** Until as many requests at once as there are places are served. */
async function untilServed(): Promise<void> {
  await eventually(async () => {
    const answers = await Promise.all(Array.from({ length: maxInFlight }, () => fetch(`${gateway.url}/users/1`)));
    expect(answers.map(({ status }) => status)).toEqual(Array(maxInFlight).fill(200));
  });
}

/** Takes every place at the users service. @returns what gives them back */
async function fill(): Promise<() => void> {
  const waiting: (() => void)[] = [];
  gateway.users.handler = (_request, response) => void waiting.push(() => response.end('late'));
  const calls = Array.from({ length: maxInFlight }, () => fetch(`${gateway.url}/users/1`));
  await until(() => waiting.length === maxInFlight, 'the requests at the service');
  return async () => {
    gateway.users.handler = answerOk;
    for (const release of waiting) release();
    for (const response of await Promise.all(calls)) expect(await response.text()).toBe('late');
  };
}

describe('when as many requests are with a service as may be', () => {
  test('the next is 503 with Retry-After at once, and the service does not hear of it', async () => {
    const release = await fill();
    const started = performance.now();
    const response = await fetch(`${gateway.url}/users/1`, { headers: { 'X-Request-Id': 'mine' } });
    expect(performance.now() - started).toBeLessThan(1_000);
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('1');
    expect(response.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(response.headers.get('x-request-id')).toBe('mine');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(await response.json()).toEqual({
      type: 'about:blank',
      title: 'Service Unavailable',
      status: 503,
      detail: 'More is asked than can be answered right now',
      code: 'overloaded',
      request_id: 'mine',
    });
    expect(gateway.users.seen).toHaveLength(maxInFlight);
    await release();
  });

  test('it is refused before its body is there, and also when the last place goes while its body comes', async () => {
    const head = 'POST /users HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n';
    const early = open(`${head}{`);
    await pause(100);
    const release = await fill();
    expect((await sendRaw(gateway.port, [head])).status).toBe(503);
    let text = '';
    early.on('data', (chunk) => {
      text += chunk.toString();
    });
    early.write('}');
    await until(() => text.includes('"overloaded"'), 'the refusal');
    expect(gateway.users.seen).toHaveLength(maxInFlight);
    await release();
  });

  test('the other services, and the health routes, are served', async () => {
    const release = await fill();
    for (const path of ['/promotions', '/subscriptions', '/health/live', '/health/ready']) {
      expect([path, (await fetch(gateway.url + path)).status]).toEqual([path, 200]);
    }
    expect((await fetch(`${gateway.url}/users//x`)).status).toBe(400);
    await release();
  });

  test('what is refused is not held against the service, and its places are given back', async () => {
    const release = await fill();
    for (let count = 0; count < 20; count += 1) expect((await fetch(`${gateway.url}/users/1`)).status).toBe(503);
    await release();
    for (let count = 0; count < 2 * maxInFlight; count += 1) {
      expect((await fetch(`${gateway.url}/users/1`)).status).toBe(200);
    }
  });

  test('the log says how many were refused, in one line a second', async () => {
    const release = await fill();
    for (let count = 0; count < 20; count += 1) await fetch(`${gateway.url}/users/1`);
    await release();
    const told = () => gateway.lines.filter((line) => line.includes('"msg":"overloaded"'));
    const sum = () => told().reduce((total, line) => total + JSON.parse(line).refused, 0);
    await until(() => sum() === 20, 'the log line');
    expect(told().length).toBeLessThan(10);
  });

  test('a client that hangs up leaves its place taken for as long as the service works on its request', async () => {
    const waiting: (() => void)[] = [];
    gateway.users.handler = (_request, response) => void waiting.push(() => response.end('late'));
    for (let count = 0; count < maxInFlight; count += 1) {
      const socket = open(get('/users/1'));
      await until(() => waiting.length === count + 1, 'the request at the service');
      socket.destroy();
    }
    await until(
      () => gateway.lines.filter((line) => line.includes('"aborted":true')).length === maxInFlight,
      'the hang-ups',
    );
    const connections = () => promisify(gateway.users.server.getConnections.bind(gateway.users.server))();
    expect(await connections()).toBe(maxInFlight);
    expect((await fetch(`${gateway.url}/users/1`)).status).toBe(503);
    expect(gateway.users.seen).toHaveLength(maxInFlight);
    gateway.users.handler = answerOk;
    for (const release of waiting) release();
    await untilServed();
    expect(gateway.lines.filter((line) => line.includes('upstream failed'))).toEqual([]);
  });

  test('places come back from failures, and from time-outs, also of clients that hang up', async () => {
    const other = await startMesh({
      MAX_IN_FLIGHT: '2',
      UPSTREAM_TIMEOUT_MS: '100',
      BREAKER_MIN_CALLS: '10000',
    });
    try {
      const endings: RequestListener[] = [hang, (request) => void request.socket.destroy()];
      for (const handler of endings) {
        other.users.handler = handler;
        for (let round = 0; round < 3; round += 1) {
          const answers = await Promise.all([fetch(`${other.url}/users`), fetch(`${other.url}/users`)]);
          expect(answers.map(({ status }) => status)).not.toContain(200);
        }
      }
      other.users.handler = hang;
      for (let round = 0; round < 3; round += 1) {
        const before = other.users.seen.length;
        const call = new AbortController();
        const aborted = fetch(`${other.url}/users`, { signal: call.signal }).catch(() => {});
        await until(() => other.users.seen.length > before, 'the request at the service');
        call.abort();
        await aborted;
        await pause(150);
      }
      other.users.handler = answerOk;
      for (let count = 0; count < 3; count += 1) expect((await fetch(`${other.url}/users`)).status).toBe(200);
    } finally {
      await other.close();
    }
  });
});

test('a service that gets slow is asked less at a time, and more again when it is quick', async () => {
  const other = await startMesh({ MAX_IN_FLIGHT: '20', UPSTREAM_TIMEOUT_MS: '3000' });
  const manyAtOnce = async (latencyMs: number): Promise<number> => {
    other.users.handler = async (_request, response) => {
      await pause(latencyMs);
      response.end();
    };
    const answers = await Promise.all(Array.from({ length: 20 }, () => fetch(`${other.url}/users/1`)));
    return answers.filter(({ status }) => status === 200).length;
  };
  try {
    expect(await manyAtOnce(0)).toBe(20);
    const slow: number[] = [];
    for (let round = 0; round < 4; round += 1) slow.push(await manyAtOnce(1_000));
    expect(slow).toEqual(slow.toSorted((a, b) => b - a));
    expect(slow.at(-1)).toBe(10);
    let quick = 0;
    for (let round = 0; round < 500 && quick < 20; round += 1) quick = await manyAtOnce(0);
    expect(quick).toBe(20);
  } finally {
    await other.close();
  }
});

describe('a slow client takes no place', () => {
  test('300 bodies that do not end: the service hears of none, and others are served', async () => {
    for (let count = 0; count < 300; count += 1) {
      open('POST /users HTTP/1.1\r\nHost: gateway\r\nContent-Length: 10\r\n\r\nhalf');
    }
    await pause(300);
    for (let count = 0; count < 20; count += 1) expect((await fetch(`${gateway.url}/users/1`)).status).toBe(200);
    expect(gateway.users.seen.filter(({ method }) => method === 'POST')).toEqual([]);
  });

  test('300 answers that are on their way for long: others are served', async () => {
    gateway.users.handler = (_request, response) => {
      response.writeHead(200).write('the first part');
    };
    let answered = 0;
    for (let count = 0; count < 300; count += 1) {
      open(get('/users/long')).once('data', () => {
        answered += 1;
      });
      // No more at a time than there are places.
      if (count % maxInFlight === maxInFlight - 1) await until(() => answered === count + 1, 'the first parts');
    }
    gateway.users.handler = answerOk;
    for (let count = 0; count < 20; count += 1) expect((await fetch(`${gateway.url}/users/1`)).status).toBe(200);
  });
});

describe('one connection', () => {
  test('has what it pipelines answered one after the other, in order', async () => {
    let atOnce = 0;
    let most = 0;
    gateway.users.handler = async (request, response) => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      await pause(Math.random() * 10);
      atOnce -= 1;
      response.end(`${request.url};`);
    };
    let text = '';
    const paths = Array.from({ length: 30 }, (_, at) => `/users/${at}`);
    open(paths.map(get).join('')).on('data', (chunk) => {
      text += chunk.toString();
    });
    await until(() => text.includes('/users/29;'), 'the last answer');
    expect([...text.matchAll(/\/users\/\d+(?=;)/g)].map(String)).toEqual(paths);
    expect(most).toBe(1);
  });

  test('that pipelines thousands takes one place; the first hundred wait, the others are refused', async () => {
    const release: (() => void)[] = [];
    gateway.users.handler = (_request, response) => void release.push(() => response.end('late'));
    const count = 5_000;
    let text = '';
    open(get('/users/1').repeat(count)).on('data', (chunk) => {
      text += chunk.toString();
    });
    await until(() => release.length === 1, 'the first request');
    await pause(200);
    expect(gateway.users.seen).toHaveLength(1);
    gateway.users.handler = answerOk;
    release[0]?.();
    const statuses = () => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status);
    await until(() => statuses().length === count, 'every answer');
    expect(statuses().slice(0, 101)).toEqual(Array(101).fill('200'));
    expect(statuses()[101]).toBe('503');
    expect((await fetch(`${gateway.url}/users/1`)).status).toBe(200);
  });

  test('whose client hangs up leaves nothing of what it pipelined to be done', async () => {
    gateway.users.handler = hang;
    const socket = open(get('/users/1').repeat(50));
    await until(() => gateway.users.seen.length === 1, 'the first request');
    socket.destroy();
    await pause(300);
    expect(gateway.users.seen).toHaveLength(1);
  });

  test('half-closed by its client is one that hung up: it is closed, and nothing failed', async () => {
    const waiting: (() => void)[] = [];
    gateway.users.handler = (_request, response) => void waiting.push(() => response.end('late'));
    for (let count = 0; count < maxInFlight; count += 1) {
      const socket = connect({ port: gateway.port, host: '127.0.0.1', allowHalfOpen: true });
      sockets.push(socket);
      const ended = new Promise((resolve) => socket.on('end', resolve).resume());
      socket.write(get('/users/1'));
      await until(() => gateway.users.seen.length === count + 1, 'the request at the service');
      socket.end();
      await ended;
    }
    gateway.users.handler = answerOk;
    for (const release of waiting) release();
    await untilServed();
    expect(gateway.lines.filter((line) => line.includes('upstream failed'))).toEqual([]);
  });

  test('half-closed in the middle of a body asks nothing of the service', async () => {
    const socket = connect({ port: gateway.port, host: '127.0.0.1', allowHalfOpen: true });
    sockets.push(socket);
    const ended = new Promise((resolve) => socket.on('end', resolve).resume());
    socket.end('POST /users HTTP/1.1\r\nHost: gateway\r\nContent-Length: 10\r\n\r\nhalf');
    await ended;
    expect(gateway.users.seen).toEqual([]);
  });
});

describe('beyond MAX_CONNECTIONS', () => {
  const max = 10;
  let small: Mesh;
  beforeEach(async () => {
    small = await startMesh({ MAX_CONNECTIONS: String(max) });
  });
  afterEach(() => small.close());

  const begin = () => {
    const socket = connect(small.port, '127.0.0.1').on('error', () => {});
    sockets.push(socket);
    return socket;
  };
  const opened = (socket: Socket) => new Promise((resolve) => socket.once('connect', resolve));

  test('a client is told so, with 503 and Retry-After, and its connection is closed; probes are answered', async () => {
    const busy = Array.from({ length: max }, () => begin());
    for (const socket of busy) socket.write('GET /users HTTP/1.1\r\n');
    await Promise.all(busy.map(opened));
    for (const path of ['/users/1', '/health', '/']) {
      const answer = await sendRaw(small.port, [get(path)]);
      expect(answer.status).toBe(503);
      expect(answer.headers).toContain('Retry-After: 1');
      expect(answer.headers).toContain('Connection: close');
      expect(JSON.parse(answer.body)).toMatchObject({ status: 503, code: 'overloaded' });
    }
    for (const path of ['/health/live', '/health/ready']) {
      expect((await sendRaw(small.port, [get(path)])).status).toBe(200);
    }
    expect(small.users.seen).toEqual([]);
    for (const socket of busy) socket.destroy();
    await until(() => small.lines.some((line) => line.includes('"msg":"too many connections"')), 'the log line');
    expect((await sendRaw(small.port, [get('/users/1')])).status).toBe(200);
  });

  test('twice as many are dropped at once, not left hanging', async () => {
    const all = Array.from({ length: 5 * max }, () => begin());
    let closed = 0;
    for (const socket of all) {
      socket.on('close', () => {
        closed += 1;
      });
      socket.resume();
    }
    await until(() => closed === 3 * max, 'the end of those beyond');
  });

  test('connections that are kept alive but idle make room for the next, unless they were used a moment ago', async () => {
    const kept = Array.from({ length: max }, () => begin());
    let answered = 0;
    let closed = 0;
    for (const socket of kept) {
      socket.on('data', () => {
        answered += 1;
      });
      socket.on('close', () => {
        closed += 1;
      });
      socket.write(get('/users/1'));
    }
    await until(() => answered === max, 'their answers');
    await pause(5_200);
    kept[0]?.write(get('/users/1'));
    await until(() => answered === max + 1, 'one more answer');
    await sendRaw(small.port, [get('/users/1')]);
    await until(() => closed === max - 1, 'the end of those that are idle');
    expect((await sendRaw(small.port, [get('/users/1')])).status).toBe(200);
    expect(closed).toBe(max - 1);
  });
});
