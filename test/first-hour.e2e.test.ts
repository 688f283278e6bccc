// What a newcomer does after `npm start`: demonstration data (npm run seed), a look at the tables (npm run psql), and a
// dead letter made and replayed by the commands of docs/operations.md. One start for all of them.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Client, client, type Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { demoPromotions, demoUsers } from '../local/demo-data.ts';
import { freePort } from '../local/ports.ts';
import { type StartProcess, spawnStart, temporaryDataDir } from './support/start-process.ts';

const root = resolve(import.meta.dirname, '..');
const dataDir = temporaryDataDir();
let database: TestDatabase;
let stack: StartProcess;
let api: Client;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  database = await createTestDatabase();
  stack = spawnStart(dataDir, await freePort(), { DATABASE_URL: database.adminUrl });
  const { AMQP_URL, ...inherited } = process.env;
  env = { ...inherited, DATABASE_URL: database.adminUrl, DATA_DIR: dataDir, BASE_URL: stack.url };
  await eventually(() => expect(stack.output()).toContain('PromoPulse is up'), { timeoutMs: 150_000 });
  api = client(stack.url);
}, 180_000);
afterAll(async () => {
  stack?.signal('SIGTERM');
  await stack?.exited;
  await database?.drop();
  rmSync(dataDir, { recursive: true, force: true });
});

/** Runs a command of package.json by its script. */
async function run(file: string, args: string[] = [], settings: NodeJS.ProcessEnv = {}) {
  try {
    const options = { cwd: root, env: { ...env, ...settings } };
    const { stdout } = await promisify(execFile)(process.execPath, [file, ...args], options);
    return { code: 0, output: stdout };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, output: `${stdout}${stderr}` };
  }
}
const seed = (settings?: NodeJS.ProcessEnv) => run('scripts/seed.ts', [], settings);

async function shownPromotions(): Promise<Map<string, Wire>> {
  const { body } = await api.get('/promotions?limit=1000');
  return new Map(body.items.map((promotion: Wire) => [promotion.name, promotion]));
}

const subscriptionsOf = async (promotionId: number): Promise<Wire[]> =>
  (await api.get(`/subscriptions?promotion_id=${promotionId}&limit=1000`)).body.items;

describe('npm run seed', () => {
  test('creates users, and promotions in every status with their subscribers', async () => {
    const { code, output } = await seed();
    expect([code, output]).toEqual([0, expect.stringContaining(`6 of 6 users, 7 of 7 promotions`)]);
    const promotions = await shownPromotions();
    expect(new Set([...promotions.values()].map(({ status }) => status))).toEqual(
      new Set(['draft', 'active', 'ended']),
    );
    for (const { name, status, subscribers = [], left = [] } of demoPromotions) {
      const shown = promotions.get(name);
      expect(shown).toMatchObject({ name, status });
      const subscriptions = await subscriptionsOf(shown.id);
      const active = subscriptions.filter(({ is_active }) => is_active);
      expect([name, subscriptions.length, active.length]).toEqual([
        name,
        subscribers.length,
        subscribers.length - left.length,
      ]);
    }
    for (const { email } of demoUsers) {
      expect((await api.get(`/users?email=${encodeURIComponent(email)}`)).body.total).toBe(1);
    }
  }, 60_000);

  test('creates nothing when it is repeated, and leaves alone what was changed', async () => {
    const promotions = await shownPromotions();
    const summer = promotions.get('Demo: Summer Sale');
    expect((await api.post(`/promotions/${summer.id}/status`, { status: 'ended' })).status).toBe(200);
    const before = { promotions: await shownPromotions(), subscriptions: await subscriptionsOf(summer.id) };
    const { code, output } = await seed();
    expect([code, output]).toEqual([0, expect.stringMatching(/Everything is at http:\S+ already\./)]);
    expect({ promotions: await shownPromotions(), subscriptions: await subscriptionsOf(summer.id) }).toEqual(before);
  }, 60_000);

  test('says how to go on when nothing answers, and touches no production', async () => {
    const unused = await seed({ BASE_URL: `http://127.0.0.1:${await freePort()}` });
    expect([unused.code, unused.output]).toEqual([
      1,
      expect.stringMatching(/No PromoPulse answers at http.* npm start/),
    ]);
    const methods: string[] = [];
    const production = createServer((request, response) => {
      methods.push(String(request.method));
      response
        .setHeader('content-type', 'application/json')
        .end('{"status":"ok","app":"PromoPulse","environment":"production"}');
    });
    await once(production.listen(0, '127.0.0.1'), 'listening');
    const { port } = production.address() as AddressInfo;
    const refused = await seed({ BASE_URL: `http://127.0.0.1:${port}/` });
    production.close();
    expect([refused.code, refused.output]).toEqual([1, expect.stringContaining('is production')]);
    expect(methods).toEqual(['GET']);
  }, 60_000);

  test('writes to no other program, takes no argument, and says what is wrong with BASE_URL', async () => {
    const methods: string[] = [];
    const other = createServer((request, response) => {
      methods.push(String(request.method));
      response.writeHead(404, { 'content-type': 'text/html' }).end('<!DOCTYPE html><h1>Another program</h1>');
    });
    await once(other.listen(0, '127.0.0.1'), 'listening');
    const { port } = other.address() as AddressInfo;
    const byPort = await seed({ BASE_URL: '', PORT: String(port) });
    other.close();
    expect([byPort.code, byPort.output]).toEqual([1, expect.stringContaining(`localhost:${port} is no PromoPulse`)]);
    expect([byPort.output.includes('<'), methods]).toEqual([false, ['GET']]);
    expect((await run('scripts/seed.ts', ['http://localhost:1'])).output).toContain('It takes no arguments');
    expect((await seed({ BASE_URL: 'localhost:8000' })).output).toContain('such as http://localhost:8000');
  }, 60_000);

  test('leaves the ids of the examples of /docs free for them', async () => {
    expect((await api.patch('/promotions/1', { description: 'Get 30% off' })).status).toBe(200);
    expect((await api.post('/subscriptions', { user_id: 1, promotion_id: 1 })).status).toBe(201);
  });
});

describe('npm run psql', () => {
  test('shows what the seed has created, with the email encrypted', async () => {
    const { code, output } = await run('scripts/psql.ts', [
      'users',
      '-c',
      'select first_name, email_encrypted from users',
    ]);
    expect([code, output]).toEqual([0, expect.stringMatching(/Ada +\| gAAAA/)]);
    expect(output).not.toContain('@demo.example');
  }, 90_000);

  test('lists the tables of all services when none is named', async () => {
    const { code, output } = await run('scripts/psql.ts', ['-c', '\\dt']);
    expect(code).toBe(0);
    for (const table of ['promotions', 'subscriptions', 'users']) {
      expect(output).toMatch(new RegExp(`^ *${table} *\\| *${table} `, 'm'));
    }
  }, 90_000);

  test('creates no database where there is none', async () => {
    const nowhere = join(dataDir, 'nowhere');
    const { code, output } = await run('scripts/psql.ts', ['users'], { DATABASE_URL: '', DATA_DIR: nowhere });
    expect([code, output]).toEqual([1, expect.stringContaining('There are no data yet. Run npm start first')]);
    expect(existsSync(nowhere)).toBe(false);
  });
});

describe('a dead letter, by the commands of docs/operations.md', () => {
  test('is made, listed, and replayed when its cause is gone', async () => {
    const text = readFileSync(join(root, 'docs/operations.md'), 'utf8');
    const [, commands = ''] = /^### Try it with npm start\n[\s\S]*?```bash\n([\s\S]*?)```/m.exec(text) ?? [];
    expect(commands.split('\n').length).toBeGreaterThan(6);
    const deadLetters = '"$NODE" packages/shared/src/commands/dead-letters.ts';
    const script = commands
      .replace(/^sleep \d+$/m, `until ${deadLetters} list | grep -q REASON; do sleep 0.5; done`) // a busy machine is slower
      .replaceAll('npm run psql --', '"$NODE" scripts/psql.ts')
      .replaceAll('npm run dead-letters --', deadLetters)
      .replaceAll('http://localhost:8000', stack.url);
    expect([script, script.includes('until')]).toEqual([expect.not.stringContaining('npm run'), true]);
    const options = { cwd: root, env: { ...env, NODE: process.execPath }, timeout: 280_000 };
    const { stdout } = await promisify(execFile)('bash', ['-euc', script], options);
    expect(stdout).toMatch(/subscriptions\.projections +user\.created [\s\S]*Replayed: 1\.[\s\S]*No dead letters in /);
    await eventually(
      async () => {
        const { services } = (await api.get('/health')).body;
        expect(services.subscriptions.dead_letters).toBe(0);
      },
      { timeoutMs: 20_000 },
    );
  }, 300_000);
});
