// The rules of CONTRIBUTING, "Layout", hold for the code, and each of them notices what breaks it.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import {
  brokenServiceShapes,
  brokenSharedShape,
  brokenStepList,
  longFunctions,
  readTree,
  repeatedFileNames,
  strayedSql,
  type Tree,
  testCodeInImages,
} from './support/architecture.ts';

const root = resolve(import.meta.dirname, '..');
const tree = readTree(root);

const tooLong = `export function long() {\n${'  work();\n'.repeat(39)}}\n`;
const files = (count: number, folder: string): Tree =>
  new Map(Array.from({ length: count }, (_, index) => [`${folder}/file-${index}.ts`, '']));
const withMain = (service: string, more: Tree): Tree => new Map([[`services/${service}/src/main.ts`, ''], ...more]);

/** A gateway with two steps in `edge/`, and what its app.ts is given as the list of steps. */
const gateway = (list: string, more: readonly [string, string][] = []): Tree =>
  new Map([
    ['services/gateway/src/app.ts', `const steps: Step[] = [${list}];\n`],
    ['services/gateway/src/edge/sanitize.ts', 'export const sanitize: Step = (request, response, next) => next();\n'],
    ['services/gateway/src/edge/quota.ts', 'export function limitRate(): Step {\n  return (request) => work();\n}\n'],
    ...more,
  ]);

interface Rule {
  title: string;
  check(tree: Tree): string[];
  broken: Tree;
  says: string;
}

const rules: Rule[] = [
  {
    title: 'a service has at most 8 role files beside main.ts',
    check: brokenServiceShapes,
    broken: withMain('notes', files(9, 'services/notes/src')),
    says: 'services/notes/src has 9 role files, not 8',
  },
  {
    title: 'a service has a main.ts',
    check: brokenServiceShapes,
    broken: files(1, 'services/notes/src'),
    says: 'services/notes/src has no main.ts',
  },
  {
    title: 'a service has at most two rooms',
    check: brokenServiceShapes,
    broken: withMain('notes', new Map(['a', 'b', 'c'].flatMap((room) => [...files(3, `services/notes/src/${room}`)]))),
    says: 'services/notes/src has 3 rooms, not 2',
  },
  {
    title: 'a room of a service has 3 files or more',
    check: brokenServiceShapes,
    broken: withMain('notes', files(2, 'services/notes/src/folders')),
    says: 'services/notes/src/folders has 2 files, not 3 or more',
  },
  {
    title: 'packages/shared has at most 8 files at its root',
    check: brokenSharedShape,
    broken: files(9, 'packages/shared/src'),
    says: 'packages/shared/src has 9 files, not 8',
  },
  {
    title: 'a room of packages/shared has 2 files or more',
    check: brokenSharedShape,
    broken: files(1, 'packages/shared/src/alone'),
    says: 'packages/shared/src/alone has 1 files, not 2 to 12',
  },
  {
    title: 'a room of packages/shared has 12 files at most',
    check: brokenSharedShape,
    broken: files(13, 'packages/shared/src/crowd'),
    says: 'packages/shared/src/crowd has 13 files, not 2 to 12',
  },
  {
    title: 'no code of tests is in an image',
    check: testCodeInImages,
    broken: new Map([['services/notes/src/notes.ts', "import { eventually } from '@promopulse/testing/eventually';"]]),
    says: 'services/notes/src/notes.ts imports code of tests',
  },
  {
    title: 'a function has at most 40 lines of its own',
    check: longFunctions,
    broken: new Map([['services/notes/src/notes.ts', tooLong]]),
    says: 'services/notes/src/notes.ts:1 long has 41 lines of its own, not 40',
  },
  {
    title: 'a file name is unique within its workspace',
    check: repeatedFileNames,
    broken: new Map([...files(1, 'services/notes/src/a'), ...files(1, 'services/notes/src/b')]),
    says: 'services/notes: file-0.ts is services/notes/src/a/file-0.ts and services/notes/src/b/file-0.ts',
  },
  {
    title: 'SQL is in queries.ts, a store, outbox/, history/, projections/rows/, database/ and migrations',
    check: strayedSql,
    broken: new Map([
      ['services/notes/src/queries.ts', 'export const ours = `select id from notes`;'],
      ['services/notes/src/notes.ts', '\nexport const strayed = `select id from notes`;'],
    ]),
    says: 'services/notes/src/notes.ts:2 has SQL',
  },
  {
    title: 'a step of the gateway is in the list of steps',
    check: brokenStepList,
    broken: gateway('sanitize, dispatch(routes)'),
    says: 'services/gateway/src/edge/quota.ts exports the step limitRate, which is in the list 0 times, not once',
  },
  {
    title: 'a step of the gateway is in the list of steps only once',
    check: brokenStepList,
    broken: gateway('sanitize, limitRate(), sanitize'),
    says: 'services/gateway/src/edge/sanitize.ts exports the step sanitize, which is in the list 2 times, not once',
  },
  {
    title: 'a function of edge/ with the parameters of a step is one',
    check: brokenStepList,
    broken: gateway('sanitize, limitRate()', [
      ['services/gateway/src/edge/cors.ts', 'export function cors(request, response, next) {\n  next();\n}\n'],
    ]),
    says: 'services/gateway/src/edge/cors.ts exports the step cors, which is in the list 0 times, not once',
  },
  {
    title: 'a step of the gateway has a name',
    check: brokenStepList,
    broken: gateway('sanitize,\n  (request, response, next) => next(),\n  limitRate()'),
    says: 'services/gateway/src/app.ts:2 is a step without a name',
  },
  {
    title: 'the steps of the gateway are one list, in app.ts',
    check: brokenStepList,
    broken: gateway('sanitize, limitRate()', [
      ['services/gateway/src/edge/steps.ts', '\nconst more: readonly Step[] = [limitRate()];\n'],
    ]),
    says:
      "the list of the gateway's steps is services/gateway/src/app.ts:1 and services/gateway/src/edge/steps.ts:2, " +
      'not only in services/gateway/src/app.ts',
  },
];

describe('the layout', () => {
  test.each(rules)('$title', ({ check }) => {
    expect(check(tree)).toEqual([]);
  });

  test.each(rules)('a fixture is noticed: $title', ({ check, broken, says }) => {
    expect(check(broken)).toEqual([says]);
  });

  test('a function of 40 lines is allowed, and a table in it does not count', () => {
    const table = `export function routes() {\n  return [\n${'    1,\n'.repeat(60)}  ];\n}\n`;
    const allowed = tooLong.replace('  work();\n', '');
    expect(longFunctions(new Map([['local/a.ts', `${allowed}${table}`]]))).toEqual([]);
  });
});

/** What the linter says of one file at a path, with the project's own rules. */
function lint(path: string, text: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-lint-'));
  try {
    cpSync(join(root, 'biome.json'), join(folder, 'biome.json'));
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), text);
    const biome = join(root, 'node_modules/.bin/biome');
    const { stdout } = spawnSync(biome, ['lint', '--vcs-enabled=false', '--reporter=json', '.'], {
      cwd: folder,
      encoding: 'utf8',
    });
    const { diagnostics } = JSON.parse(stdout) as { diagnostics: { category: string }[] };
    return diagnostics.map(({ category }) => category);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const imports = (specifier: string): string => `export { thing } from '${specifier}';\n`;

describe('the walls that lint draws', () => {
  test.each([
    ['a service from another, by path', 'services/users/src/users.ts', '../../promotions/src/rules.ts'],
    [
      'a service from another, out of a room',
      'services/users/src/personal-data/email.ts',
      '../../../promotions/src/rules.ts',
    ],
    ['a service from another, as a package', 'services/users/src/users.ts', '@promopulse/promotions/rules'],
    ['a service from local/', 'services/gateway/src/app.ts', '../../../local/ports.ts'],
    ['a test of a service from another service', 'services/users/test/users.test.ts', '../../promotions/src/rules.ts'],
    ['shared from a service', 'packages/shared/src/process.ts', '../../../services/users/src/service.ts'],
    ['shared from tools', 'packages/shared/src/process.ts', '../../../tools/chaos/plan.ts'],
    ['http/ from database/', 'packages/shared/src/http/app.ts', '../database/database.ts'],
    ['database/ from messaging/', 'packages/shared/src/database/database.ts', '../messaging/broker.ts'],
    ['messaging/rabbitmq/ from http/', 'packages/shared/src/messaging/rabbitmq/broker.ts', '../../http/problem.ts'],
    ['contracts/ from outbox/', 'packages/shared/src/contracts/queues.ts', '../outbox/outbox.ts'],
    ['http/ from history/', 'packages/shared/src/http/routes.ts', '../history/history-table.ts'],
    ['messaging/ from projections/', 'packages/shared/src/messaging/broker.ts', '../projections/events/consumer.ts'],
    ['rules from a query', 'services/promotions/src/rules.ts', './queries.ts'],
    ['rules from the database', 'services/promotions/src/rules.ts', '@promopulse/shared/database/database'],
    ['local/ from tools/', 'local/stack.ts', '../tools/chaos/plan.ts'],
  ])('%s cannot be imported', (_what, path, specifier) => {
    expect(lint(path, imports(specifier))).toEqual(['lint/style/noRestrictedImports']);
  });

  test.each([
    ['services/users/src/users.ts', './queries.ts'],
    ['services/users/src/users.ts', '@promopulse/shared/database/database'],
    ['services/users/test/users.test.ts', '@promopulse/testing/client'],
    ['services/promotions/src/rules.ts', '@promopulse/shared/contracts/promotions'],
    ['packages/shared/src/outbox/relay.ts', '../messaging/broker.ts'],
    ['packages/shared/src/messaging/rabbitmq/broker.ts', '../broker.ts'],
    ['packages/shared/src/projections/events/consumer.ts', '../../messaging/broker.ts'],
    ['packages/shared/src/projections/projection-routes.ts', '../http/routes.ts'],
    ['packages/shared/src/projections/rows/store.ts', '../../database/database.ts'],
  ])('%s may import %s', (path, specifier) => {
    expect(lint(path, imports(specifier))).toEqual([]);
  });

  test('a function takes at most 4 positional parameters', () => {
    const five = 'export function five(a: 1, b: 1, c: 1, d: 1, e: 1) {\n  return [a, b, c, d, e];\n}\n';
    expect(lint('services/users/src/users.ts', five)).toEqual(['lint/complexity/useMaxParams']);
  });

  test('a file has at most 250 lines', () => {
    const lines = Array.from({ length: 251 }, (_, index) => `export const line${index} = ${index};\n`).join('');
    expect(lint('services/users/src/users.ts', lines)).toEqual(['lint/style/noExcessiveLinesPerFile']);
  });
});

test('the packages do not import each other in a cycle', () => {
  const graph = new Map(
    [...tree].filter(([path]) => path.endsWith('.ts')).map(([path, text]) => [path, importsOf(path, text)]),
  );
  const done = new Set<string>();
  const cycle = (path: string, before: readonly string[]): string[] | undefined => {
    if (before.includes(path)) return [...before.slice(before.indexOf(path)), path];
    if (done.has(path)) return undefined;
    for (const next of graph.get(path) ?? []) {
      const found = cycle(next, [...before, path]);
      if (found) return found;
    }
    done.add(path);
    return undefined;
  };
  expect([...graph.keys()].map((path) => cycle(path, [])).find(Boolean)).toBeUndefined();
});

function importsOf(path: string, text: string): string[] {
  return [...text.matchAll(/^(?:import|export) (?!type )[^;]*? from '([^']+)'/gms)].flatMap(([, specifier = '']) => {
    if (specifier.startsWith('.')) return [join(dirname(path), specifier)];
    const [, name, file] = /^@promopulse\/(\w+)\/(.+)$/.exec(specifier) ?? [];
    return name ? [`packages/${name}/src/${file}.ts`] : [];
  });
}

test('the whole tree is looked at', () => {
  expect(tree.size).toBeGreaterThan(200);
});
