// The balancer of a rollout sends to processes that are ready, repeats nothing, and hides no refused connection.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { openReadyBalancer, type ReadyBalancer, type Target } from '../ready-balancer.ts';

const toClose: (() => Promise<unknown> | undefined)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

interface Process extends Target {
  server: Server;
  isReady: boolean;
}

/** Answers with its name. */
async function startProcess(name: string): Promise<Process> {
  const server = createServer((request, response) => {
    if (request.url === '/health/ready') response.statusCode = started.isReady ? 200 : 503;
    response.end(name);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  toClose.push(async () => server.close().closeAllConnections());
  const { port } = server.address() as AddressInfo;
  const started: Process = { server, port, healthPort: port, isReady: true };
  return started;
}

async function open(unit: 'connections' | 'requests', targets: readonly Target[]): Promise<ReadyBalancer> {
  const balancer = await openReadyBalancer('test', unit);
  toClose.push(() => balancer.close());
  for (const target of targets) balancer.add(target);
  await eventually(() => expect(targets.map((target) => balancer.isReady(target))).toEqual(targets.map(() => true)));
  return balancer;
}

const ask = async (url: string): Promise<string> => (await fetch(url, { headers: { connection: 'close' } })).text();

describe.each(['connections', 'requests'] as const)('with %s distributed', (unit) => {
  test('all ready processes get some, and one that is not ready any more gets none', async () => {
    const [a, b] = [await startProcess('a'), await startProcess('b')];
    const balancer = await open(unit, [a, b]);
    expect([await ask(balancer.url), await ask(balancer.url)].sort()).toEqual(['a', 'b']);
    a.isReady = false;
    await eventually(() => expect(balancer.isReady(a)).toBe(false));
    expect([await ask(balancer.url), await ask(balancer.url)]).toEqual(['b', 'b']);
    expect(balancer.refused).toBe(0);
  });

  test('a request that no process takes fails, and is counted once', async () => {
    const only = await startProcess('only');
    const balancer = await open(unit, [only]);
    balancer.remove(only);
    await expect(ask(balancer.url)).rejects.toThrow();
    expect(balancer.refused).toBe(1);
  });
});
