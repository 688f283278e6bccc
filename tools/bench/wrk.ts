// Load over HTTP from `wrk`, one thread, or from autocannon where wrk is absent. Requests are drawn at random from a
// seed of their own each time, by a script that costs little beside the request.
import { execFile } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import type { Load } from './rounds.ts';

const run = promisify(execFile);

/** Where a program is installed; Debian keeps some out of an ordinary user's PATH. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/bin'];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

export interface Target {
  url: string;
  method: 'GET' | 'POST';
  /** `{a}` and `{b}` stand for random integers from 1 to these. */
  path: string;
  body?: string;
  a?: number;
  b?: number;
}

export interface LoadOptions {
  connections: number;
  seconds: number;
  /** Core to pin the generator to. */
  core?: number | undefined;
}

let seed = Date.now() % 1_000_000;

/** @throws when more than a few requests were not answered with success (a random pair may be there already) */
export async function loadHttp(folder: string, target: Target, options: LoadOptions): Promise<Load> {
  seed += 1;
  const wrk = findProgram('wrk');
  const { load, failed } = wrk ? await runWrk(wrk, folder, target, options) : await runAutocannon(target, options);
  if (load.count === 0 || failed > 5 + load.count / 500) {
    throw new Error(`${target.method} ${target.path}: ${failed} of ${load.count} requests failed`);
  }
  return load;
}

async function runWrk(wrk: string, folder: string, target: Target, { connections, seconds, core }: LoadOptions) {
  const script = join(folder, 'wrk.lua');
  writeFileSync(script, luaOf(target));
  const command = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', script, target.url];
  const { stdout } = await runPinned(core, wrk, command);
  const numbers = /^RESULT (.*)$/m.exec(stdout)?.[1]?.split(' ').map(Number) ?? [];
  const [count = 0, microseconds = 1, failed = 0, p50 = 0, p99 = 0] = numbers;
  return { load: { count, perSecond: (count * 1e6) / microseconds, p50: p50 / 1_000, p99: p99 / 1_000 }, failed };
}

/** Whole requests as text: wrk's own wrk.format would put the headers together anew for each. */
function luaOf({ url, method, path, body, a = 1, b = 1 }: Target): string {
  const quoted = (text: string): string =>
    `"${text.replaceAll('"', '\\"').replaceAll('{a}', '"..a.."').replaceAll('{b}', '"..b.."')}"`;
  const head = `"${method} "..${quoted(path)}.." HTTP/1.1\\r\\nHost: ${new URL(url).host}\\r\\n`;
  const request = body
    ? `${head}Content-Type: application/json\\r\\nContent-Length: "..#body.."\\r\\n\\r\\n"..body`
    : `${head}\\r\\n"`;
  return `
local random = math.random
function init() math.randomseed(${seed}) end
function request()
  local a, b = random(${a}), random(${b})
  ${body ? `local body = ${quoted(body)}` : ''}
  return ${request}
end
function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  print(string.format("RESULT %d %d %d %d %d", summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
`;
}

async function runAutocannon(target: Target, { connections, seconds, core }: LoadOptions) {
  const settings = JSON.stringify({ ...target, connections, seconds, seed });
  const script = join(import.meta.dirname, 'autocannon.ts');
  const { stdout } = await runPinned(core, process.execPath, [script, settings]);
  return JSON.parse(stdout) as { load: Load; failed: number };
}

export function runPinned(core: number | undefined, command: string, args: readonly string[]) {
  const taskset = core === undefined ? undefined : findProgram('taskset');
  return taskset
    ? run(taskset, ['-c', String(core), command, ...args], { maxBuffer: 10_000_000 })
    : run(command, [...args], { maxBuffer: 10_000_000 });
}
