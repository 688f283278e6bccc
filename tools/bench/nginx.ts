// Starts nginx with one worker on one core.
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../local/ports.ts';
import { findProgram } from './programs.ts';
import type { Servers } from './stack.ts';

/**
 * @param name of its configuration and log files
 * @param http the content of the configuration's http block
 * @throws when it does not answer within 5 s
 */
export async function startNginx(servers: Servers, name: string, core: number, http: (port: number) => string) {
  const port = await freePort();
  const file = join(servers.folder, `${name}.conf`);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (use) => `${use}_temp_path ${join(servers.folder, `${name}-${use}`)};`,
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
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  servers.keep(async () => {
    child.kill('SIGTERM');
    await exited;
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
