// Callers are known through the whole stack: `AUTH=required npm start`, its first key, the command that makes one, scopes
// and end users in the real services.
import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Client, client, type Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { freePort } from '../local/ports.ts';
import { audience, startTokenIssuer, type TokenIssuer } from '../services/gateway/test/token-issuer.ts';
import { type StartProcess, spawnStart, temporaryDataDir } from './support/start-process.ts';

const root = resolve(import.meta.dirname, '..');
const dataDir = temporaryDataDir();
const ada = { first_name: 'Ada', last_name: 'Lovelace', email: 'ada@example.com' };
let issuer: TokenIssuer;
let stack: StartProcess;
let firstKey: string;
let operator: Client;

async function startAndWait(): Promise<StartProcess> {
  const env = {
    AUTH: 'required',
    OIDC_ISSUER: issuer.url,
    OIDC_AUDIENCE: audience,
    OIDC_USER_CLAIM: 'user',
    OIDC_CLIENTS: 'shop',
  };
  const started = spawnStart(dataDir, await freePort(), env);
  const up = eventually(() => expect(started.output()).toContain('Press Ctrl-C'), { timeoutMs: 60_000 });
  await Promise.race([up, started.exited.then(() => Promise.reject(new Error(`It ended:\n${started.output()}`)))]);
  return started;
}

const callerWith = (credential: string): Client => client(stack.url, { Authorization: `Bearer ${credential}` });

beforeAll(async () => {
  issuer = await startTokenIssuer();
  stack = await startAndWait();
  await eventually(() => expect(stack.output()).toMatch(/ppk_\w{49}/));
  firstKey = /ppk_\w{49}/.exec(stack.output())?.[0] ?? '';
  operator = callerWith(firstKey);
}, 90_000);
afterAll(async () => {
  stack?.signal('SIGTERM');
  await stack?.exited;
  await issuer?.close();
  rmSync(dataDir, { recursive: true, force: true });
});

test('npm start prints a first key, which may do everything, and keeps it out of the log', async () => {
  expect((await client(stack.url).post('/users', ada)).status).toBe(401);
  const { status, body } = await operator.post('/users', ada);
  expect([status, body.id]).toEqual([201, 1]);
  const { id } = (await operator.get('/api-keys')).body.items[0];
  await eventually(() => {
    const log = readFileSync(join(dataDir, 'services.log'), 'utf8');
    const lines = log.split('\n').flatMap((line) => (line.endsWith('}') ? [JSON.parse(line)] : []));
    for (const service of ['gateway', 'users']) {
      expect(lines).toContainEqual(expect.objectContaining({ service, actor: `key:${id}`, status: 201 }));
    }
    expect(log).not.toContain(firstKey);
  });
});

test('a service that is called past the gateway answers 401', async () => {
  const [, url = ''] = /^ *users +(http:\S+)$/m.exec(stack.output()) ?? [];
  const answer = await client(url).get('/users/1', { Authorization: `Bearer ${firstKey}` });
  expect([answer.status, answer.body.code]).toEqual([401, 'unauthenticated']);
});

test('a key does what its scopes allow', async () => {
  const { body } = await operator.post('/api-keys', { name: 'Reader', scopes: ['users:read'] });
  const reader = callerWith(body.secret);
  expect((await reader.get('/users/1')).status).toBe(200);
  const refused = await reader.patch('/users/1', { first_name: 'Eve' });
  expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
    403,
    'Bearer error="insufficient_scope", scope="users:write"',
  ]);
});

test('a token does what its scopes allow, and that of an end user what is their own', async () => {
  const program = callerWith(await issuer.token({ claims: { scope: 'users:write users:read' } }));
  const { body: eve } = await program.post('/users', { ...ada, email: 'eve@example.com' });
  expect((await program.get('/promotions')).status).toBe(403);
  const endUser = callerWith(await issuer.token({ claims: { user: eve.id, scope: 'users:read' } }));
  expect((await endUser.get(`/users/${eve.id}`)).status).toBe(200);
  expect((await endUser.get('/users/1')).status).toBe(403);
});

describe('npm run keys:create', () => {
  const run = async (...args: string[]): Promise<{ stdout: string; stderr: string; code: number }> => {
    const { DATABASE_URL, ...env } = process.env;
    const command = promisify(execFile)(process.execPath, ['scripts/create-key.ts', ...args], {
      cwd: root,
      env: { ...env, DATA_DIR: dataDir },
    });
    return await command.then(
      ({ stdout, stderr }) => ({ stdout, stderr, code: 0 }),
      ({ stdout, stderr, code }: Wire) => ({ stdout, stderr, code }),
    );
  };

  test('makes a key in the database of the running stack, and prints it alone on stdout', async () => {
    const { stdout, stderr, code } = await run('--name', 'Shop', '--scopes', 'users:read,promotions:read');
    expect([stdout, code]).toEqual([expect.stringMatching(/^ppk_\w{49}\n$/), 0]);
    expect(stderr).toContain('users:read, promotions:read');
    expect((await callerWith(stdout.trim()).get('/users/1')).status).toBe(200);
    const [newest] = (await operator.get('/api-keys')).body.items;
    expect(newest).toMatchObject({ name: 'Shop', created_by: null, scopes: ['users:read', 'promotions:read'] });
  });

  test('makes none with --if-none when there is one that manages keys', async () => {
    const { stdout, stderr, code } = await run('--if-none', '--name', 'first', '--scopes', 'all');
    expect([stdout, code]).toEqual(['', 0]);
    expect(stderr).toContain('no key was made');
  });

  test.each([
    [[], 'name is required'],
    [['--name', 'a', '--scopes', 'users:admin'], 'scopes.0 must be one of users:read'],
    [['--name', 'a', '--scopes', 'all', '--expires', 'soon'], 'Usage: keys:create'],
    [['--name', 'a', '--scopes', 'all', '--expires-at', 'soon'], 'expires_at must be'],
  ])('%j ends with 2 and says why', async (args, reason) => {
    const { stdout, stderr, code } = await run(...args);
    expect([stdout, code, stderr]).toEqual(['', 2, expect.stringContaining(reason)]);
  });
});

test('started again it makes no other key, and the first one goes on', async () => {
  stack.signal('SIGTERM');
  await stack.exited;
  stack = await startAndWait();
  expect(stack.output()).not.toContain('ppk_');
  expect((await callerWith(firstKey).get('/users/1')).status).toBe(200);
}, 120_000);
