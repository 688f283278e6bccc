// Measures how long `npm start` and each service take until they are ready.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../local/ports.ts';
import type { Row, Section } from './report.ts';
import { type Plan, spread } from './rounds.ts';
import { allParts, type BenchDatabase, environmentOf, type Servers } from './stack.ts';

const root = resolve(import.meta.dirname, '../..');
const shellEnv = { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '' };

export async function measureStart(servers: Servers, database: BenchDatabase, plan: Plan): Promise<Section> {
  const seconds: Record<string, number[]> = {};
  const record = (what: string, value: number): void => {
    seconds[what] = [...(seconds[what] ?? []), value];
    plan.say(`${what}: ${value.toFixed(2)} s`);
  };
  for (let round = 1; round <= plan.rounds; round += 1) {
    const dataDir = join(servers.folder, `start-${round}`);
    record('npm start until healthy, without data', await startAll(dataDir));
    record('npm start until healthy, with data', await startAll(dataDir));
    for (const part of allParts) record(`${part}: start until ready`, await startPart(servers, database, part));
  }
  const rows = Object.entries(seconds).map(([what, values]): Row => {
    const goal = { atMost: what.startsWith('npm') ? 6 : 1 };
    return { measure: 'start', what, value: spread(values), unit: 's', goal };
  });
  return { name: 'start', rows, cases: {}, skipped: [] };
}

async function startAll(dataDir: string): Promise<number> {
  const port = await freePort();
  const env = { ...shellEnv, DATA_DIR: dataDir, PORT: String(port) };
  const child = spawn('npm', ['start'], { cwd: root, env, stdio: 'ignore', detached: true });
  const seconds = await untilReady(child, `http://127.0.0.1:${port}/health`);
  process.kill(-Number(child.pid), 'SIGTERM');
  // npm can end before the process that it has started.
  while (existsSync(join(dataDir, 'lock'))) await sleep(20);
  return seconds;
}

async function startPart(servers: Servers, database: BenchDatabase, part: string): Promise<number> {
  const port = await freePort();
  const internalPort = part === 'gateway' ? undefined : await freePort(undefined, [port]);
  const env = environmentOf(servers, database, part, () => ({ port: 9, internalPort: 9 })); // nothing listens there
  const child = spawn(process.execPath, [`services/${part}/src/main.ts`], {
    cwd: root,
    env: {
      ...shellEnv,
      NODE_ENV: 'production',
      ...env,
      PORT: String(port),
      ...(internalPort && { INTERNAL_PORT: String(internalPort) }),
    },
    stdio: 'ignore',
  });
  const seconds = await untilReady(child, `http://127.0.0.1:${internalPort ?? port}/health/ready`);
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
  return seconds;
}

/** @returns the seconds until the URL answers with success @throws when the process ends before */
async function untilReady(child: ChildProcess, url: string): Promise<number> {
  const start = performance.now();
  while (child.exitCode === null) {
    const response = await fetch(url, { signal: AbortSignal.timeout(1_000) }).catch(() => undefined);
    await response?.arrayBuffer();
    if (response?.ok) return (performance.now() - start) / 1_000;
    await sleep(10);
  }
  throw new Error(`${child.spawnargs.join(' ')} ended before it was ready`);
}
