// Start and stop: as a process of its own for what an operator sees, and in this process for what a client sees.

import { type ChildProcess, spawn } from 'node:child_process';
import { Agent, get, type IncomingMessage } from 'node:http';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from '@jest/globals';
import { services, serviceUrls } from '@promopulse/shared/contracts/services';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { eventually } from '@promopulse/testing/eventually';
import { startGateway } from '../src/app.ts';
import {
  environmentFor,
  neverAnswer,
  type StubService,
  sleep,
  startStubService,
  startTestGateway,
  waitUntil,
} from './stubs.ts';

describe('the process', () => {
  const toClose: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const { close } of toClose.splice(0).reverse()) await close();
  });

  test('names every invalid variable in one message and exits with 1', async () => {
    const { exit } = run({ PROMOTIONS_URL: 'ftp://x', SUBSCRIPTIONS_URL: 'http://a/path', MAX_BODY_BYTES: 'many' });
    const { code, stderr, stdout } = await exit;
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain('USERS_URL is not set');
    expect(stderr).toContain('PROMOTIONS_URL is not valid: must be an http:// URL');
    expect(stderr).toContain('SUBSCRIPTIONS_URL is not valid: must be scheme, host and port only');
    expect(stderr).toContain('MAX_BODY_BYTES is not valid');
    expect(stderr).not.toContain('    at ');
  });

  test('names a variable that should be a URL and is none', async () => {
    const { code, stderr } = await run({ USERS_URL: 'users:8001', PROMOTIONS_URL: 'p', SUBSCRIPTIONS_URL: '/s' }).exit;
    expect(code).toBe(1);
    for (const name of ['USERS_URL', 'PROMOTIONS_URL', 'SUBSCRIPTIONS_URL']) {
      expect(stderr).toContain(`${name} is not valid: must be an http:// URL`);
    }
  });

  test('in production, refuses to serve without authentication, and names the way out', async () => {
    const stub = await startStub();
    const env = { ...environmentFor(services.map(() => stub)), ENVIRONMENT: 'production' };
    for (const off of [{}, { AUTH: 'off' }]) {
      const { code, stderr } = await run({ ...env, ...off }).exit;
      expect({ code, lines: stderr.trim().split('\n') }).toEqual({
        code: 1,
        lines: [expect.stringMatching(/AUTH=off is refused with ENVIRONMENT=production.*AUTH=external/)],
      });
    }
    const gateway = await startGateway({ ...env, AUTH: 'external', LOG_LEVEL: 'silent' });
    await gateway.close();
  });

  test('does not start when it cannot know an internal listener: the message names the variable', async () => {
    const { exit } = run({ ...serviceUrls((name) => `http://${name}:8001`), USERS_URL: 'http://users' });
    const { code, stderr } = await exit;
    expect(code).toBe(1);
    expect(stderr).toBe(
      'The gateway cannot start. USERS_INTERNAL_URL is not set, and USERS_URL names no port to derive it from.\n',
    );
  });

  test('when the port is in use, prints one line that names PORT; startGateway rejects with EADDRINUSE', async () => {
    const stub = await startStub();
    const env = { ...environmentFor(services.map(() => stub)), PORT: new URL(stub.url).port };
    await expect(startGateway({ ...env, LOG_LEVEL: 'silent' })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    const { code, stderr } = await run(env).exit;
    expect(code).toBe(1);
    expect(stderr).toBe(`The gateway cannot start. PORT ${env.PORT} is taken: set PORT to a free one.\n`);
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('%s: answers the request in flight, then exits with 0', async (signal) => {
    const stub = await startStub();
    let release = () => {};
    stub.handler = (_request, response) => {
      release = () => void response.end('finished');
    };
    const { child, port, exit } = await startProcess(stub);
    const answer = fetch(`http://127.0.0.1:${await port}/users/1`);
    await waitUntil(() => stub.received.length === 1, 'the request');
    child.kill(signal);
    await sleep(200);
    await expect(fetch(`http://127.0.0.1:${await port}/users/2`)).rejects.toThrow();
    release();
    const response = await answer;
    expect(response.headers.get('connection')).toBe('close');
    expect(await response.text()).toBe('finished');
    expect((await exit).code).toBe(0);
  });

  test('exits after SHUTDOWN_TIMEOUT_MS even if a request does not end', async () => {
    const stub = await startStub();
    stub.handler = neverAnswer;
    const { child, port, exit } = await startProcess(stub, { SHUTDOWN_TIMEOUT_MS: '500' });
    const cut = expect(fetch(`http://127.0.0.1:${await port}/users/1`)).rejects.toThrow();
    await waitUntil(() => stub.received.length === 1, 'the request');
    const started = performance.now();
    child.kill('SIGTERM');
    expect((await exit).code).toBe(0);
    expect(performance.now() - started).toBeLessThan(3_000);
    await cut;
  });

  test('ends at once on a second signal', async () => {
    const stub = await startStub();
    stub.handler = neverAnswer;
    const { child, port, exit } = await startProcess(stub, {
      SHUTDOWN_TIMEOUT_MS: '60000',
      UPSTREAM_TIMEOUT_MS: '60000',
    });
    const cut = expect(fetch(`http://127.0.0.1:${await port}/users/1`)).rejects.toThrow();
    await waitUntil(() => stub.received.length === 1, 'the request');
    child.kill('SIGTERM');
    await sleep(200);
    expect(child.exitCode).toBeNull();
    child.kill('SIGTERM');
    expect((await exit).code).toBe(1);
    await cut;
  });

  async function startStub(): Promise<StubService> {
    const stub = await startStubService();
    toClose.push(stub);
    return stub;
  }

  async function startProcess(stub: StubService, env: Record<string, string> = {}) {
    const process = run({ ...environmentFor(services.map(() => stub)), ...env });
    toClose.push({ close: () => process.child.kill('SIGKILL') });
    return { ...process, port: process.port };
  }
});

describe('a gateway that stops', () => {
  test('reports "not ready" but serves requests for SHUTDOWN_DELAY_MS', async () => {
    const gateway = await startTestGateway({ SHUTDOWN_DELAY_MS: '500' });
    expect((await fetch(`${gateway.url}/health/ready`)).status).toBe(200);
    const closed = gateway.close();
    const ready = await fetch(`${gateway.url}/health/ready`);
    expect(ready.status).toBe(503);
    expect(ready.headers.get('retry-after')).not.toBeNull();
    expect((await fetch(`${gateway.url}/users/1`)).status).toBe(200);
    expect((await fetch(`${gateway.url}/health/live`)).status).toBe(200);
    await closed;
  });

  test('answers a request that comes on an idle connection while it stops, and closes the connection', async () => {
    const gateway = await startTestGateway();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    await call(`${gateway.url}/users/1`, agent);
    await waitUntil(() => Object.keys(agent.freeSockets).length === 1, 'the idle connection');
    const closed = gateway.close();
    await eventually(() => expect(fetch(`${gateway.url}/users/2`)).rejects.toThrow());
    const last = await call(`${gateway.url}/users/3`, agent);
    expect([last.statusCode, last.headers.connection]).toEqual([200, 'close']);
    await closed;
    agent.destroy();
  });

  test('does not wait for keep-alive connections and serves no further request on them', async () => {
    const gateway = await startTestGateway();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    let release = () => {};
    gateway.users.handler = (_request, response) => {
      release = () => void response.end('ok');
    };
    const first = call(`${gateway.url}/users/1`, agent);
    await waitUntil(() => gateway.users.received.length === 1, 'the request');
    const started = performance.now();
    const closed = gateway.close();
    await sleep(100);
    release();
    expect((await first).headers.connection).toBe('close');
    await closed;
    expect(performance.now() - started).toBeLessThan(1_500);
    await expect(call(`${gateway.url}/users/2`, agent)).rejects.toThrow();
    agent.destroy();
  });
});

function call(url: string, agent: Agent): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => resolve(response.resume())).on('error', reject);
  });
}

interface Exit {
  code: number | null;
  stdout: string;
  stderr: string;
}

function run(env: Record<string, string>): { child: ChildProcess; port: Promise<number>; exit: Promise<Exit> } {
  const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
  const child = spawn(process.execPath, [main], { env: { ...childEnvironment, ...env } });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const exit = new Promise<Exit>((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
  const listening = () => /"port":(\d+)/.exec(stdout)?.[1];
  const port = waitUntil(
    () => listening() !== undefined || child.exitCode !== null,
    'the process to listen',
    20_000,
  ).then(() => Number(listening()));
  port.catch(() => {});
  return { child, port, exit };
}
