// Many callers at once: a caller that obeys Retry-After gets through, and so do the programs that docs/operations.md
// gives for an import.
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Client, type ClientResponse, client } from '@promopulse/testing/client';
import { type RunningStack, startFreshStack } from './support/stack.ts';

let stack: RunningStack;
let api: Client;
let promotionId: number;
const userIds: number[] = [];

beforeAll(async () => {
  // The usual 5 s would end requests that a busy machine does not answer in time, with an unknown outcome.
  stack = await startFreshStack('memory', { UPSTREAM_TIMEOUT_MS: '30000' });
  api = client(stack.url);
  const dates = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
  promotionId = (await api.post('/promotions', { name: 'Import', ...dates })).body.id;
  await api.post(`/promotions/${promotionId}/status`, { status: 'active' });
}, 120_000);
afterAll(() => stack?.close());

const callers = 100;
const maxAttempts = 10;

interface Outcome {
  status: number;
  attempts: number;
  body: { id?: number };
}

/** As a usual client does it: after a 503 it waits as long as the answer says, and a random part of a second. */
async function obey(send: () => Promise<ClientResponse<{ id?: number }>>): Promise<Outcome> {
  for (let attempts = 1; ; attempts += 1) {
    const { status, headers, body } = await send();
    const retryAfter = headers.get('retry-after');
    if (status !== 503 || retryAfter === null || attempts === maxAttempts) return { status, attempts, body };
    expect(Number(retryAfter)).toBeGreaterThanOrEqual(1);
    expect(Number(retryAfter)).toBeLessThanOrEqual(10);
    await sleep((Number(retryAfter) + Math.random()) * 1_000);
  }
}

async function allAtOnce(send: (number: number) => Promise<ClientResponse<{ id?: number }>>): Promise<Outcome[]> {
  const outcomes = await Promise.all(Array.from({ length: callers }, (_, number) => obey(() => send(number))));
  const attempts = outcomes.map((outcome) => outcome.attempts).toSorted((a, b) => a - b);
  process.stderr.write(`attempts of ${callers} callers: median ${attempts[callers / 2]}, at most ${attempts.at(-1)}\n`);
  return outcomes;
}

const statusesOf = (outcomes: Outcome[]) => [...new Set(outcomes.map(({ status }) => status))];

describe('100 callers at the same moment, who obey Retry-After', () => {
  test('create 100 users, none twice', async () => {
    const outcomes = await allAtOnce((number) =>
      api.post('/users', { first_name: 'Ada', last_name: 'L', email: `import-${number}@example.com` }),
    );
    expect(statusesOf(outcomes)).toEqual([201]);
    userIds.push(...outcomes.map(({ body }) => Number(body.id)));
    expect(new Set(userIds).size).toBe(callers);
    expect(await stack.sql('select count(*)::int as n from users.users')).toEqual([{ n: callers }]);
  }, 120_000);

  test('subscribe 100 users, none twice', async () => {
    const outcomes = await allAtOnce((number) =>
      api.post('/subscriptions', { user_id: userIds[number], promotion_id: promotionId }),
    );
    expect(statusesOf(outcomes)).toEqual([201]);
    expect(await stack.sql('select count(*)::int as n from subscriptions.subscriptions')).toEqual([{ n: callers }]);
  }, 120_000);

  test('change 100 users', async () => {
    const outcomes = await allAtOnce((number) => api.patch(`/users/${userIds[number]}`, { last_name: `N${number}` }));
    expect(statusesOf(outcomes)).toEqual([200]);
  }, 120_000);

  test.each(['limit=10', 'limit=1000', 'limit=10&offset=1500'])(
    'read a list with %s',
    async (query) => {
      const outcomes = await allAtOnce(() => api.get(`/subscriptions?promotion_id=${promotionId}&${query}`));
      expect(statusesOf(outcomes)).toEqual([200]);
    },
    120_000,
  );
});

describe('the programs of docs/operations.md', () => {
  const page = readFileSync(new URL('../docs/operations.md', import.meta.url), 'utf8');
  const program = (name: string): string => {
    const [, text] = new RegExp(`^\`\`\`\\w+ ${name}\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(page) ?? [];
    if (!text) throw new Error(`docs/operations.md has no program ${name}`);
    return text.replaceAll('http://localhost:8000', stack.url);
  };
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'promopulse-import-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const row = (name: string) =>
    JSON.stringify({ first_name: `O'Neil "${name}"`, last_name: 'L', email: `${name}@example.com` });

  function runProgram(rows: string[]): Promise<{ code: number | null; output: string }> {
    return new Promise((resolve) => {
      const child = spawn(process.execPath, [join(folder, 'import.mjs'), `${stack.url}/users`, '100']);
      let output = '';
      child.stdout.on('data', (chunk) => {
        output += chunk;
      });
      child.on('close', (code) => resolve({ code, output }));
      child.stdin.end(`${rows.join('\n')}\n`);
    });
  }

  test('import.mjs creates every row once, also with 100 at a time, and names the wrong one', async () => {
    writeFileSync(join(folder, 'import.mjs'), program('import.mjs'));
    const rows = Array.from({ length: 200 }, (_, number) => row(`row-${number}`));
    const first = await runProgram([...rows, '{"first_name":"No email"}']);
    expect(first.code).toBe(1);
    expect(JSON.parse(first.output)).toMatchObject({
      ...{ created: 200, already_there: 0, given_up: [] },
      wrong: [{ row: '{"first_name":"No email"}', errors: expect.arrayContaining([expect.any(Object)]) }],
    });
    const again = await runProgram(rows);
    expect([again.code, JSON.parse(again.output)]).toMatchObject([0, { created: 0, already_there: 200, wrong: [] }]);
  }, 120_000);

  test('the command with curl does the same', async () => {
    writeFileSync(
      join(folder, 'users.ndjson'),
      Array.from({ length: 30 }, (_, number) => `${row(`curl-${number}`)}\n`).join(''),
    );
    const count = async (): Promise<string> => {
      const { stdout } = await promisify(execFile)('bash', ['-c', program('import-with-curl')], { cwd: folder });
      return stdout.trim();
    };
    expect(await count()).toBe('30 201');
    expect(await count()).toBe('30 409');
  }, 120_000);
});
