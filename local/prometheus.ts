// A real Prometheus on this machine, for tests and for `npm run alerts`: its own from PATH, or Debian's package, unpacked
// into a folder of the user. Nothing is installed. It listens on 127.0.0.1 only, and `stop` leaves no process behind.
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawnServer, waitForExit } from './accounts.ts';
import { freePort } from './ports.ts';
import type { Keep } from './servers.ts';
import { canUnpack, unpackedFolder, unpackPackage } from './unpacked-packages.ts';

const packageName = 'prometheus';

interface PrometheusPrograms {
  prometheus: string;
  /** Checks rules, tests them, and checks metrics. */
  promtool: string;
}

/** Whether `ensurePrometheus` can succeed on this machine. */
export function canHavePrometheus(): boolean {
  return findPrometheus() !== undefined || canUnpack();
}

function findPrometheus(): PrometheusPrograms | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), join(unpackedFolder(packageName), 'usr/bin')];
  const bin = folders.find((folder) => ['prometheus', 'promtool'].every((name) => existsSync(join(folder, name))));
  return bin === undefined ? undefined : { prometheus: join(bin, 'prometheus'), promtool: join(bin, 'promtool') };
}

/** @throws Error when it is not installed, and cannot be unpacked here */
export async function ensurePrometheus(print: (line: string) => void): Promise<PrometheusPrograms> {
  if (!findPrometheus() && canUnpack()) await unpackPackage(packageName, print);
  const programs = findPrometheus();
  if (!programs) throw new Error('Prometheus is needed: put the programs prometheus and promtool into PATH');
  return programs;
}

export interface LocalPrometheus {
  url: string;
  /** Names of the alerts that fire now. */
  firing(): Promise<string[]>;
  /** @returns how many series the expression has now @throws Error with Prometheus' words when it is not valid */
  count(expression: string): Promise<number>;
  /** Reads the configuration again. */
  reload(): void;
}

const startTimeoutMs = 30_000;
const endTimeoutMs = 15_000;
/** A sixth of Prometheus' default, as the durations of `npm run alerts`: so long a series without scrapes is still there. */
const lookbackSeconds = 50;

/** @param folder has `prometheus.yml`, and gets the data and the log */
export async function startPrometheus(
  folder: string,
  print: (line: string) => void,
  keep: Keep,
): Promise<LocalPrometheus> {
  const { prometheus } = await ensurePrometheus(print);
  const url = `http://127.0.0.1:${await freePort()}`;
  const log = openSync(join(folder, 'prometheus.log'), 'a', 0o600);
  const child = await spawnServer(
    prometheus,
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'prometheus')}`,
      `--web.listen-address=${new URL(url).host}`,
      `--query.lookback-delta=${lookbackSeconds}s`,
    ],
    { stdio: ['ignore', log, log] },
  ).finally(() => closeSync(log));
  const killAtExit = (): void => void child.kill('SIGKILL');
  process.once('exit', killAtExit);
  keep(async () => {
    child.kill('SIGTERM');
    await waitForExit(child, endTimeoutMs);
    process.off('exit', killAtExit);
  });
  await waitUntilReady(url);
  return {
    url,
    firing: async () => {
      const { alerts } = (await ask(`${url}/api/v1/alerts`)) as {
        alerts: { state: string; labels: { alertname: string } }[];
      };
      return [
        ...new Set(alerts.filter(({ state }) => state === 'firing').map(({ labels }) => labels.alertname)),
      ].sort();
    },
    count: async (expression) => {
      const { result } = (await ask(`${url}/api/v1/query?${new URLSearchParams({ query: expression })}`)) as {
        result: unknown[];
      };
      return result.length;
    },
    reload: () => void child.kill('SIGHUP'),
  };
}

async function waitUntilReady(url: string): Promise<void> {
  for (const deadline = Date.now() + startTimeoutMs; ; await sleep(100)) {
    const isReady = await fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) return;
    if (Date.now() > deadline) throw new Error(`Prometheus was not ready within ${startTimeoutMs / 1_000} s`);
  }
}

async function ask(url: string): Promise<unknown> {
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  const { data, error } = (await response.json()) as { data: unknown; error?: string };
  if (error !== undefined) throw new Error(error);
  return data;
}

/** Runs promtool. @returns its standard output @throws Error with what it printed, when it finds a fault */
export async function promtool(
  args: readonly string[],
  { input = '', cwd }: { input?: string; cwd?: string } = {},
): Promise<string> {
  const { promtool: program } = await ensurePrometheus(() => undefined);
  try {
    return execFileSync(program, args, { input, cwd, encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${stdout}${stderr}`);
  }
}
