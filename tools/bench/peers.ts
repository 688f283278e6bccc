// Starts the servers written by hand, in bench/peers, as processes of their own.
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Place, Servers } from './stack.ts';

const scripts = { Express: 'express.ts', Fastify: 'fastify.ts' };
export type PeerName = keyof typeof scripts;

export async function startPeer(servers: Servers, place: Place, name: PeerName, port: number) {
  const log = openSync(join(servers.folder, `${name}.log`), 'a');
  const child = spawn(process.execPath, [join(import.meta.dirname, 'peers', scripts[name])], {
    env: {
      PATH: process.env.PATH,
      NODE_ENV: 'production',
      TZ: 'UTC',
      PORT: String(port),
      PROMOTIONS_URL: place.urls.promotions,
      SUBSCRIPTIONS_URL: place.urls.subscriptions,
    },
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const gone = new Promise<void>((settle) => child.once('exit', () => settle()));
  servers.keep(async () => {
    child.kill('SIGTERM');
    await gone;
  });
  const url = `http://127.0.0.1:${port}`;
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const answer = await fetch(`${url}/promotions/1`).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer?.ok && child.pid !== undefined) return { url, pid: child.pid };
    await sleep(50);
  }
  throw new Error(`the ${name} peer did not start`);
}
