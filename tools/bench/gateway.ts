// Row 1: the gateway beside nginx as a proxy. One process on one core each, in front of the same upstream, which with
// the load generator has the other core. Both write a line per request into their log.
import { execFile, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from '../../local/ports.ts';
import type { Section } from './report.ts';
import { type Case, interleave, type Plan, ratio } from './rounds.ts';
import { type Place, type Servers, startParts } from './stack.ts';
import { findProgram, loadHttp, type Target } from './wrk.ts';

const connections = 32;
const [proxyCore, otherCore] = [0, 1];

/** 270 bytes, as a promotion has. */
const answer = JSON.stringify({ id: 1, name: 'Summer Sale', description: 'x'.repeat(226) });
const requests = {
  get: { method: 'GET', path: '/promotions/{a}', a: 10_000 },
  post: { method: 'POST', path: '/subscriptions', body: '{"user_id":{a},"promotion_id":{b}}', a: 100_000, b: 10_000 },
} satisfies Record<string, Omit<Target, 'url'>>;

export async function measureGateway(servers: Servers, place: Place, plan: Plan): Promise<Section> {
  const section: Section = { name: 'gateway', rows: [], cases: {}, skipped: [] };
  const missing = ['nginx', 'taskset'].filter((name) => !findProgram(name));
  if (missing.length > 0)
    return { ...section, skipped: [`gateway / nginx: ${missing.join(' and ')} is not installed`] };
  const upstream = await startNginx(
    servers,
    'upstream',
    otherCore,
    (port) => `
    access_log off;
    server { listen 127.0.0.1:${port}; default_type application/json; location / { return 200 '${answer}'; } }`,
  );
  const nginx = await startNginx(
    servers,
    'nginx',
    proxyCore,
    (port) => `
    log_format line escape=json '{"time":"$time_iso8601","request_id":"$request_id","method":"$request_method",'
      '"path":"$uri","status":$status,"seconds":$request_time}';
    access_log ${join(servers.folder, 'nginx-access.log')} line;
    upstream services { server 127.0.0.1:${upstream.port}; keepalive 64; keepalive_requests 1000000; }
    server {
      listen 127.0.0.1:${port};
      location / {
        proxy_pass http://services; proxy_http_version 1.1; proxy_set_header Connection "";
        proxy_set_header X-Request-Id $request_id; proxy_set_header X-Forwarded-For $remote_addr;
      }
    }`,
  );
  const upstreamUrl = `http://127.0.0.1:${upstream.port}`;
  const env = { USERS_URL: upstreamUrl, PROMOTIONS_URL: upstreamUrl, SUBSCRIPTIONS_URL: upstreamUrl };
  const { gateway } = await startParts(servers, place, ['gateway'], { env });
  if (!gateway) throw new Error('the gateway did not start');
  await promisify(execFile)(findProgram('taskset') ?? '', ['-a', '-cp', String(proxyCore), String(gateway.pid)]);

  const cases = Object.entries(requests).flatMap(([kind, request]): Case[] =>
    [
      { name: 'gateway', url: gateway.url, pid: gateway.pid },
      { name: 'nginx', url: nginx.url, pid: nginx.pid },
    ].map(({ name, url, pid }) => ({
      name: `proxy ${kind} ${name}`,
      components: () => ({ proxy: pid, upstream: upstream.pid }),
      run: (seconds) => loadHttp(servers.folder, { url, ...request }, { connections, seconds, core: otherCore }),
    })),
  );
  section.cases = await interleave(cases, plan);
  for (const [kind, goal] of [
    ['get', 0.2],
    ['post', 0.15],
  ] as const) {
    const [ours, theirs] = [section.cases[`proxy ${kind} gateway`], section.cases[`proxy ${kind} nginx`]];
    const byCpu = ratio(theirs, ours, ({ cpu }) => cpu.proxy ?? 0);
    const what = `${kind.toUpperCase()}: gateway / nginx`;
    section.rows.push({ row: 1, what, value: ratio(ours, theirs), byCpu, goal: { atLeast: goal } });
  }
  await gateway.stop();
  return section;
}

async function startNginx(servers: Servers, name: string, core: number, http: (port: number) => string) {
  const port = await freePort();
  const file = join(servers.folder, `${name}.conf`);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${join(servers.folder, `${name}-${kind}`)};`,
  );
  writeFileSync(
    file,
    `daemon off; worker_processes 1; error_log ${join(servers.folder, `${name}-error.log`)};
    pid ${join(servers.folder, `${name}.pid`)}; ${process.getuid?.() === 0 ? 'user root;' : ''}
    events { worker_connections 1024; }
    http { keepalive_requests 1000000; ${temporary.join(' ')} ${http(port)} }`,
  );
  const command = ['-c', String(core), findProgram('nginx') ?? '', '-c', file, '-p', servers.folder];
  const child = spawn(findProgram('taskset') ?? '', command, { stdio: 'ignore' });
  const gone = new Promise<void>((settle) => child.once('exit', () => settle()));
  servers.keep(async () => {
    child.kill('SIGTERM');
    await gone;
  });
  const url = `http://127.0.0.1:${port}`;
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const reached = await fetch(url).then(
      (response) => response.arrayBuffer(),
      () => undefined,
    );
    if (reached && child.pid !== undefined) return { port, url, pid: child.pid };
    await sleep(50);
  }
  throw new Error(`nginx (${name}) did not start`);
}
