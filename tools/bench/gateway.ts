// Measures the gateway as a proxy, beside nginx and beside a proxy written by hand on node:http and undici. Each runs as
// one process on one core, in front of the same upstream, which shares the other core with the load generator. Each
// writes one log line per request.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { serviceUrls } from '@promopulse/shared/contracts/services';
import { startNginx } from './nginx.ts';
import { startPeer } from './peers.ts';
import { findProgram } from './programs.ts';
import type { Row, Section } from './report.ts';
import { type Case, interleave, type Plan, ratio } from './rounds.ts';
import { type BenchDatabase, type Servers, startParts } from './stack.ts';
import { loadHttp, type Target } from './wrk.ts';

const connections = 32;
const [proxyCore, otherCore] = [0, 1];

/** 270 bytes, as a promotion has. */
const upstreamBody = JSON.stringify({ id: 1, name: 'Summer Sale', description: 'x'.repeat(226) });
const requests = {
  get: { method: 'GET', path: '/promotions/{a}', a: 10_000 },
  post: { method: 'POST', path: '/subscriptions', body: '{"user_id":{a},"promotion_id":{b}}', a: 100_000, b: 10_000 },
} satisfies Record<string, Omit<Target, 'url'>>;
/** Requests per second, as a share of the other proxy's. */
const goals = { get: { nginx: 0.2, undici: 0.5 }, post: { nginx: 0.15, undici: 0.5 } };

const upstreamConfig = (port: number): string => `
    access_log off;
    server { listen 127.0.0.1:${port}; default_type application/json; location / { return 200 '${upstreamBody}'; } }`;

const proxyConfig = (port: number, logFile: string, upstreamPort: number): string => `
    log_format line escape=json '{"time":"$time_iso8601","request_id":"$request_id","method":"$request_method",'
      '"path":"$uri","status":$status,"seconds":$request_time}';
    access_log ${logFile} line;
    upstream services { server 127.0.0.1:${upstreamPort}; keepalive 64; keepalive_requests 1000000; }
    server {
      listen 127.0.0.1:${port};
      location / {
        proxy_pass http://services; proxy_http_version 1.1; proxy_set_header Connection "";
        proxy_set_header X-Request-Id $request_id; proxy_set_header X-Forwarded-For $remote_addr;
      }
    }`;

export async function measureGateway(servers: Servers, database: BenchDatabase, plan: Plan): Promise<Section> {
  const missing = ['nginx', 'taskset'].filter((name) => !findProgram(name));
  if (missing.length > 0) {
    const skipped = [`gateway / nginx: ${missing.join(' and ')} is not installed`];
    return { name: 'gateway', rows: [], cases: {}, skipped };
  }
  const { upstream, proxies, stop } = await startProxies(servers, database);
  const cases = Object.entries(requests).flatMap(([method, request]): Case[] =>
    proxies.map(({ name, url, pid }) => ({
      name: `proxy ${method} ${name}`,
      components: () => ({ proxy: pid, upstream: upstream.pid }),
      run: (seconds) => loadHttp(servers.folder, { url, ...request }, { connections, seconds, core: otherCore }),
    })),
  );
  const rounds = await interleave(cases, plan);
  const rows = Object.entries(goals).flatMap(([method, goal]): Row[] => {
    const gateway = rounds[`proxy ${method} gateway`];
    const measured = Object.entries(goal).filter(([name]) => rounds[`proxy ${method} ${name}`]);
    return measured.map(([name, atLeast]): Row => {
      const other = rounds[`proxy ${method} ${name}`];
      const cpuRatio = ratio(other, gateway, ({ cpu }) => cpu.proxy ?? 0);
      const what = `${method.toUpperCase()}: gateway / ${name}`;
      return { measure: 'proxying', what, value: ratio(gateway, other), cpuRatio, goal: { atLeast } };
    });
  });
  await stop();
  return { name: 'gateway', rows, cases: rounds, skipped: [] };
}

async function startProxies(servers: Servers, database: BenchDatabase) {
  const upstream = await startNginx(servers, 'upstream', otherCore, upstreamConfig);
  const logFile = join(servers.folder, 'nginx-access.log');
  const nginx = await startNginx(servers, 'nginx', proxyCore, (port) => proxyConfig(port, logFile, upstream.port));
  const env = serviceUrls(() => `http://127.0.0.1:${upstream.port}`);
  const { gateway } = await startParts(servers, database, ['gateway'], { env });
  if (!gateway) throw new Error('the gateway did not start');
  const peer = await startPeer(servers, database, 'undici', { UPSTREAM_URL: `http://127.0.0.1:${upstream.port}` });
  for (const { pid } of [gateway, peer]) {
    await promisify(execFile)(findProgram('taskset') ?? '', ['-a', '-cp', String(proxyCore), String(pid)]);
  }
  const proxies = [
    { name: 'gateway', url: gateway.url, pid: gateway.pid },
    { name: 'undici', url: peer.url, pid: peer.pid },
    { name: 'nginx', url: nginx.url, pid: nginx.pid },
  ];
  return { upstream, proxies, stop: gateway.stop };
}
