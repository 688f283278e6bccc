// npm run check:breaks, release:version and release:freeze: which releases are compared, what is said, and what is written.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { copyCheckout } from '../../../test/support/recipe.ts';
import {
  currentDocuments,
  currentVersion,
  type Documents,
  documentNames,
  fileOf,
  frozenVersions,
  readBaseline,
  releaseBefore,
  releasesFolder,
} from '../baselines.ts';
import { findProblems } from '../find-problems.ts';
import { type ListedBreaks, readListedBreaks } from '../listed-breaks.ts';
import { versionPlaces } from '../version-places.ts';

// biome-ignore lint/suspicious/noExplicitAny: a planted change may have any shape
type Json = any;

const root = join(import.meta.dirname, '../../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-releases-'));
  folders.push(folder);
  return folder;
}

let documents: Documents;
beforeAll(async () => {
  documents = await currentDocuments();
});

describe('this checkout', () => {
  test('says its version alike in every place', () => {
    const places = versionPlaces(root);
    expect(places.length).toBeGreaterThan(40);
    expect(places.filter(({ version }) => version !== currentVersion)).toEqual([]);
    for (const path of ['docs/openapi.json', 'docs/asyncapi.json']) {
      expect([path, JSON.parse(read(path)).info.version]).toEqual([path, currentVersion]);
    }
  });

  test('has the documents of every release before it', () => {
    const released = [...read('CHANGELOG.md').matchAll(/^## \[(\d+\.\d+\.\d+)\]/gm)].map(([, version]) => version);
    const before = released.filter((version) => version !== currentVersion);
    expect(before).toContain('0.1.0');
    for (const version of before) {
      const missing = documentNames.filter((name) => readBaseline(name, version as string) === undefined);
      expect([version, missing]).toEqual([version, []]);
    }
  });

  test('breaks nothing of the release before it but what docs/releases/breaks.json lists (npm run check:breaks)', () => {
    const { status, stdout } = spawnSync(process.execPath, ['tools/releases/check.ts'], {
      cwd: root,
      encoding: 'utf8',
    });
    expect([status, stdout]).toEqual([0, expect.stringMatching(/^\d+\.\d+\.\d+ breaks nothing of \d+\.\d+\.\d+ but/)]);
  });
});

describe('the release before a version', () => {
  const folder = temporaryFolder();
  for (const version of ['0.1.0', '0.2.0', '0.10.0']) writeFileSync(join(folder, fileOf('openapi', version)), '{}');

  test.each([
    ['0.1.0', undefined],
    ['0.1.1', '0.1.0'],
    ['0.2.0', '0.1.0'],
    ['0.3.0', '0.2.0'],
    ['1.0.0', '0.10.0'],
  ])('of %s is the newest that is lower: %s', (version, expected) => {
    expect(releaseBefore(version, folder)).toBe(expected);
  });
});

describe('npm run check:breaks says', () => {
  const none: ListedBreaks = { openapi: [], asyncapi: [], environment: [] };
  const released = '5.0.0';
  const folder = temporaryFolder();
  beforeAll(() => {
    for (const name of documentNames) {
      writeFileSync(join(folder, fileOf(name, released)), JSON.stringify(documents[name]));
    }
  });

  function problemsOf(change: (copy: Record<string, Json>) => void, listed = none, version = '5.1.0'): string[] {
    const copy: Record<string, Json> = structuredClone(documents);
    change(copy);
    return findProblems({ version, documents: copy as Documents, listed, folder });
  }

  const removals: [string, (copy: Record<string, Json>) => void, string][] = [
    ['openapi', ({ openapi }) => delete openapi.paths['/users'].get, 'GET /users is gone'],
    [
      'asyncapi',
      ({ asyncapi }) => delete asyncapi.components.messages['user.created'],
      'the event user.created is gone',
    ],
    [
      'environment',
      ({ environment }) => delete environment.processes.users.properties.AMQP_PREFIX,
      'users: AMQP_PREFIX is gone',
    ],
  ];

  test('nothing when nothing is broken', () => {
    expect(problemsOf(() => undefined)).toEqual([]);
  });

  test.each(removals)('%s: a break that is not listed', (name, change, sentence) => {
    expect(problemsOf(change)).toEqual([`${name}: breaks users of 5.0.0: ${sentence}`]);
  });

  test.each(removals)('%s: nothing of a break that is listed with its reason', (name, change, sentence) => {
    expect(problemsOf(change, { ...none, [name]: [{ break: sentence, reason: 'Planned.' }] })).toEqual([]);
  });

  test.each(removals)('%s: a listed break that has no reason, or is none', (name, change, sentence) => {
    const list = 'docs/releases/breaks.json';
    expect(problemsOf(change, { ...none, [name]: [{ break: sentence, reason: ' ' }] })).toEqual([
      `${name}: ${list} has no reason for: ${sentence}`,
    ]);
    expect(problemsOf(() => undefined, { ...none, [name]: [{ break: sentence, reason: 'Planned.' }] })).toEqual([
      `${name}: ${list} lists what does not break users of 5.0.0: ${sentence}`,
    ]);
  });

  test('that a released version does not change: the change belongs to the next one', () => {
    const change = ({ openapi }: Record<string, Json>): void => {
      openapi.paths['/new'] = { get: { responses: {} } };
    };
    expect(problemsOf(change, none, '5.1.0')).toEqual([]);
    expect(problemsOf(change, none, released)).toEqual([
      'openapi: 5.0.0 is released, and differs now: npm run release:version -- <the next version>',
    ]);
  });

  test('that a document of a release is missing', () => {
    const incomplete = temporaryFolder();
    writeFileSync(join(incomplete, fileOf('openapi', released)), JSON.stringify(documents.openapi));
    expect(findProblems({ version: '5.1.0', documents, listed: none, folder: incomplete })).toEqual([
      'docs/releases/asyncapi-5.0.0.json is missing: npm run release:freeze writes it',
      'docs/releases/environment-5.0.0.json is missing: npm run release:freeze writes it',
    ]);
  });
});

describe('a release, in a copy of the checkout', () => {
  let copy: string;
  beforeAll(() => {
    copy = copyCheckout();
    folders.push(copy);
  }, 60_000);
  const run = (script: string, ...args: string[]) => {
    const all = [`tools/releases/${script}.ts`, ...args];
    const env = { ...process.env, NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/compiled') };
    const { status, stdout, stderr } = spawnSync(process.execPath, all, { cwd: copy, env, encoding: 'utf8' });
    return { status, output: `${stdout}${stderr}` };
  };
  const inCopy = (path: string): string => readFileSync(join(copy, path), 'utf8');
  const listed = (): ListedBreaks => readListedBreaks(join(copy, 'docs/releases'));

  test('release:version writes the version in every place, and makes the documents again', () => {
    expect(run('set-version', '90.0.0')).toMatchObject({ status: 0 });
    const places = versionPlaces(copy);
    expect(places.length).toBe(versionPlaces(root).length);
    expect(places.filter(({ version }) => version !== '90.0.0')).toEqual([]);
    expect(JSON.parse(inCopy('docs/openapi.json')).info.version).toBe('90.0.0');
    expect(JSON.parse(inCopy('docs/asyncapi.json')).info.version).toBe('90.0.0');
    expect(inCopy('packages/client/src/api.ts')).toContain('"version": "90.0.0"');
    expect(inCopy('package-lock.json')).not.toContain(`"@promopulse/shared": "${currentVersion}"`);
  }, 60_000);

  test('release:freeze writes all documents, once, and only of what the CHANGELOG has', () => {
    expect(run('freeze')).toEqual({ status: 1, output: 'CHANGELOG.md has no section 90.0.0.\n' });
    const changelog = inCopy('CHANGELOG.md');
    writeFileSync(join(copy, 'CHANGELOG.md'), `${changelog}\n## [90.0.0] - 2030-01-01\n`);
    expect(run('freeze')).toMatchObject({ status: 0 });
    const folder = join(copy, 'docs/releases');
    expect(frozenVersions(folder)).toEqual([...frozenVersions(releasesFolder), '90.0.0']);
    expect(JSON.parse(inCopy('docs/releases/environment-90.0.0.json')).version).toBe('90.0.0');
    expect(run('freeze')).toEqual({ status: 1, output: '90.0.0 is released already.\n' });
  }, 60_000);

  test('the next version begins with no break, and a released one cannot be taken again', () => {
    expect(run('set-version', '90.0.0')).toEqual({ status: 1, output: '90.0.0 is released. Take the next version.\n' });
    expect(run('set-version', '90.1.0')).toMatchObject({ status: 0 });
    expect(listed()).toEqual({ openapi: [], asyncapi: [], environment: [] });
    expect(run('check')).toEqual({
      status: 0,
      output: '90.1.0 breaks nothing of 90.0.0 but what docs/releases/breaks.json lists.\n',
    });
  }, 60_000);
});
