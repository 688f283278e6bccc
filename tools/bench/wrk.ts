// HTTP load from `wrk` with one thread, or from autocannon where wrk is not installed. Each run draws its requests at
// random from a seed of its own.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram, runPinned } from './programs.ts';
import type { Load } from './rounds.ts';

export interface Target {
  url: string;
  method: 'GET' | 'POST';
  /** In the path and the body, `{a}` and `{b}` stand for random integers from 1 to the numbers below. */
  path: string;
  /** JSON. */
  body?: string;
  a?: number;
  b?: number;
  /** The body is an array of so many; in each, `{n}` stands for a text that no other has. */
  batch?: number;
  /** Sent as a bearer token: an API key or an access token. */
  credential?: string;
}

export interface LoadOptions {
  connections: number;
  seconds: number;
  /** Core that the load generator is pinned to. */
  core?: number | undefined;
}

let seed = Date.now() % 1_000_000;

/**
 * Sends requests for so many seconds.
 * @throws when more than 5 requests and 0.2 % of them failed; a few may, because a random pair can exist already
 */
export async function loadHttp(folder: string, target: Target, options: LoadOptions): Promise<Load> {
  seed += 1;
  const wrk = findProgram('wrk');
  const { load, failed } = wrk ? await runWrk(wrk, folder, target, options) : await runAutocannon(target, options);
  if (load.count === 0 || failed > 5 + load.count / 500) {
    throw new Error(`${target.method} ${target.path}: ${failed} of ${load.count} requests failed`);
  }
  return load;
}

/** Replaces `{a}` and `{b}` by random integers. */
export function fillIn(text: string, { a = 1, b = 1 }: Pick<Target, 'a' | 'b'>): string {
  const random = (max: number): string => String(1 + Math.floor(Math.random() * max));
  return text.replaceAll('{a}', () => random(a)).replaceAll('{b}', () => random(b));
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

/** The script builds each request as one text, because wrk.format would format all headers again for each request. */
function luaOf({ url, method, path, body, a = 1, b = 1, batch, credential }: Target): string {
  const quoted = (text: string): string =>
    `"${text.replaceAll('"', '\\"').replaceAll('{a}', '"..a.."').replaceAll('{b}', '"..b.."').replaceAll('{n}', '"..n.."')}"`;
  const bodyText = (text: string): string =>
    batch === undefined
      ? `local body = ${quoted(text)}`
      : `local items = {}
  for item = 1, ${batch} do
    local a, b = random(${a}), random(${b})
    count = count + 1
    local n = "${seed}-"..count
    items[item] = ${quoted(text)}
  end
  local body = "["..table.concat(items, ",").."]"`;
  const authorization = credential ? `Authorization: Bearer ${credential}\\r\\n` : '';
  const head = `"${method} "..${quoted(path)}.." HTTP/1.1\\r\\nHost: ${new URL(url).host}\\r\\n${authorization}`;
  const request = body
    ? `${head}Content-Type: application/json\\r\\nContent-Length: "..#body.."\\r\\n\\r\\n"..body`
    : `${head}\\r\\n"`;
  return `
local random = math.random
local count = 0
function init() math.randomseed(${seed}) end
function request()
  local a, b = random(${a}), random(${b})
  ${body ? bodyText(body) : ''}
  return ${request}
end
function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  print(string.format("RESULT %d %d %d %d %d", summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
`;
}

async function runAutocannon(target: Target, { connections, seconds, core }: LoadOptions) {
  const settings = JSON.stringify({ ...target, connections, seconds });
  const script = join(import.meta.dirname, 'autocannon.ts');
  const { stdout } = await runPinned(core, process.execPath, [script, settings]);
  return JSON.parse(stdout) as { load: Load; failed: number };
}
