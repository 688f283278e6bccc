// Row 9: how long starts take, and how much memory the processes hold.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../local/ports.ts';
import type { Row, Section } from './report.ts';
import { type Plan, spread } from './rounds.ts';
import { allParts, environmentOf, type Place, type Servers } from './stack.ts';

const root = resolve(import.meta.dirname, '../..');
const path = { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '' };

export async function measureStart(servers: Servers, place: Place, plan: Plan): Promise<Section> {
  const seconds: Record<string, number[]> = {};
  const note = (what: string, value: number): void => {
    seconds[what] = [...(seconds[what] ?? []), value];
    plan.say(`${what}: ${value.toFixed(2)} s`);
  };
  for (let round = 1; round <= plan.rounds; round += 1) {
    const dataDir = join(servers.folder, `start-${round}`);
    note('npm start to healthy, the first time', await startAll(dataDir));
    note('npm start to healthy, again', await startAll(dataDir));
    for (const part of allParts) note(`${part}: start to ready`, await startPart(servers, place, part));
  }
  const rows = Object.entries(seconds).map(([what, values]): Row => {
    return { row: 9, what, value: spread(values), unit: 's', goal: { atMost: what.startsWith('npm') ? 6 : 1 } };
  });
  return { name: 'start', rows, cases: {}, skipped: [] };
}

async function startAll(dataDir: string): Promise<number> {
  const port = await freePort();
  const env = { ...path, DATA_DIR: dataDir, PORT: String(port) };
  const child = spawn('npm', ['start'], { cwd: root, env, stdio: 'ignore', detached: true });
  const seconds = await untilReady(child, `http://127.0.0.1:${port}/health`);
  process.kill(-Number(child.pid), 'SIGTERM');
  // npm may be gone before what it has started.
  while (existsSync(join(dataDir, 'lock'))) await sleep(20);
  return seconds;
}

async function startPart(servers: Servers, place: Place, part: string): Promise<number> {
  const port = await freePort();
  const env = environmentOf(servers, place, part, () => 'http://127.0.0.1:9'); // its neighbours are away
  const child = spawn(process.execPath, [`services/${part}/src/main.ts`], {
    cwd: root,
    env: { ...path, NODE_ENV: 'production', ...env, PORT: String(port) },
    stdio: 'ignore',
  });
  const seconds = await untilReady(child, `http://127.0.0.1:${port}/health/ready`);
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await gone;
  return seconds;
}

/** @throws when it has ended instead */
async function untilReady(child: ChildProcess, url: string): Promise<number> {
  const start = performance.now();
  while (child.exitCode === null) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(1_000) }).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer?.ok) return (performance.now() - start) / 1_000;
    await sleep(10);
  }
  throw new Error(`${child.spawnargs.join(' ')} ended while it started`);
}
