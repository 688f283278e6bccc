// Starts the servers written by hand in peers/, each as a process of its own.
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { serviceUrls } from '@promopulse/shared/contracts/services';
import { freePort } from '../../local/ports.ts';
import { type BenchDatabase, personalDataKeys, type Servers } from './stack.ts';

const scripts = { Express: 'express.ts', Fastify: 'fastify.ts', undici: 'proxy.ts' };
/** The peers of the services. The other one is a peer of the gateway. */
export type PeerName = Exclude<keyof typeof scripts, 'undici'>;

export interface Peer {
  url: string;
  pid: number;
}

/** Its environment has the URL of each service's schema, where a service has the URL of the service. @throws after 30 s */
export async function startPeer(
  servers: Servers,
  database: BenchDatabase,
  name: keyof typeof scripts,
  env: Record<string, string> = {},
): Promise<Peer> {
  const port = await freePort();
  const log = openSync(join(servers.folder, `${name}.log`), 'a');
  const child = spawn(process.execPath, [join(import.meta.dirname, 'peers', scripts[name])], {
    env: {
      PATH: process.env.PATH,
      NODE_ENV: 'production',
      TZ: 'UTC',
      PORT: String(port),
      ...serviceUrls((service) => database.urls[service] ?? ''),
      ...personalDataKeys(servers),
      ...env,
    },
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  servers.keep(async () => {
    child.kill('SIGTERM');
    await exited;
  });
  const url = `http://127.0.0.1:${port}`;
  for (let attempt = 0; attempt < 600; attempt += 1) {
    const response = await fetch(`${url}/promotions/1`).catch(() => undefined);
    await response?.arrayBuffer();
    if (response?.ok && child.pid !== undefined) return { url, pid: child.pid };
    await sleep(50);
  }
  throw new Error(`the ${name} peer did not start`);
}
