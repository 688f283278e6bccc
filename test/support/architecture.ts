// The rules that keep the layout of the code (CONTRIBUTING, "Layout"), as functions from a tree of files to what breaks
// them. A tree is data, so that a test can also show a broken one to each rule.
import { globSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path/posix';
import { parseSync } from 'oxc-parser';

/** Path from the root of the repository → text. */
export type Tree = ReadonlyMap<string, string>;

const maxRoleFiles = 8;
const maxRooms = 2;
const minRoomFiles = 3;
const sharedRootFiles = 8;
const sharedRoomFiles = { min: 2, max: 12 };
const maxOwnLines = 40;

export function readTree(root: string): Tree {
  const paths = globSync('{packages,services,local,scripts,tools,test}/**/*.{ts,sql,json}', {
    cwd: root,
    exclude: ['**/node_modules/**'],
  });
  return new Map(paths.sort().map((path) => [path, readFileSync(join(root, path), 'utf8')]));
}

/** Rule 1: a service is `main.ts`, at most 8 files named by their role, and at most two rooms named by a concept. */
export function brokenServiceShapes(tree: Tree): string[] {
  return groupBy(tree, /^services\/([^/]+)\/src\/(.+)$/).flatMap(([service, files]) => {
    if (service === 'gateway') return [];
    const roles = files.filter((file) => !file.includes('/') && file.endsWith('.ts') && file !== 'main.ts');
    const rooms = foldersOf(files).filter(([room]) => room !== 'migrations');
    return [
      ...when(!files.includes('main.ts'), `services/${service}/src has no main.ts`),
      ...when(
        roles.length > maxRoleFiles,
        `services/${service}/src has ${roles.length} role files, not ${maxRoleFiles}`,
      ),
      ...when(rooms.length > maxRooms, `services/${service}/src has ${rooms.length} rooms, not ${maxRooms}`),
      ...rooms.flatMap(([room, inRoom]) =>
        when(
          inRoom.length < minRoomFiles,
          `services/${service}/src/${room} has ${inRoom.length} files, not ${minRoomFiles} or more`,
        ),
      ),
    ];
  });
}

/** Rule 2: packages/shared has at most 8 files at its root, and rooms of 2 to 12 files. */
export function brokenSharedShape(tree: Tree): string[] {
  const files = [...tree.keys()].flatMap((path) => /^packages\/shared\/src\/(.+)$/.exec(path)?.[1] ?? []);
  const atRoot = files.filter((file) => !file.includes('/'));
  const { min, max } = sharedRoomFiles;
  return [
    ...when(atRoot.length > sharedRootFiles, `packages/shared/src has ${atRoot.length} files, not ${sharedRootFiles}`),
    ...foldersOf(files).flatMap(([room, inRoom]) =>
      when(
        inRoom.length < min || inRoom.length > max,
        `packages/shared/src/${room} has ${inRoom.length} files, not ${min} to ${max}`,
      ),
    ),
  ];
}

/** Rule 2: no code of tests or tools in what an image carries. */
export function testCodeInImages(tree: Tree): string[] {
  return [...tree].flatMap(([path, text]) =>
    /^(packages\/shared|services\/[^/]+)\/src\//.test(path) && path.endsWith('.ts')
      ? when(
          /from '(@promopulse\/testing\/|@jest\/|.*\/(test|tools|local|scripts)\/)/.test(text),
          `${path} imports code of tests`,
        )
      : [],
  );
}

/**
 * Rule 3: a function has at most 40 lines of its own. Lines of a function inside it belong to that one; an array is a
 * table and does not count. (Lint counts the lines of a file, and parameters.)
 */
export function longFunctions(tree: Tree): string[] {
  return [...tree].flatMap(([path, text]) => {
    if (!/^(packages|services|local|scripts|tools)\//.test(path) || !path.endsWith('.ts')) return [];
    if (/\/(test|migrations)\//.test(path)) return [];
    return functionsIn(path, text).flatMap(({ name, line, ownLines }) =>
      when(ownLines > maxOwnLines, `${path}:${line} ${name} has ${ownLines} lines of its own, not ${maxOwnLines}`),
    );
  });
}

/** The same role in two folders that are alternatives to each other, or a command named like what it works on. */
const mayRepeat = [/^packages\/shared\/src\/messaging\/(rabbitmq|in-memory)\//, /^packages\/shared\/src\/commands\//];

/** Rule 4: a file name is unique within its workspace. */
export function repeatedFileNames(tree: Tree): string[] {
  const sources = [...tree.keys()].filter(
    (path) => path.endsWith('.ts') && !/\/(test|migrations)\//.test(path) && !mayRepeat.some((each) => each.test(path)),
  );
  const byName = Map.groupBy(sources, (path) => `${workspaceOf(path)}: ${basename(path)}`);
  return [...byName].flatMap(([name, paths]) => when(paths.length > 1, `${name} is ${paths.join(' and ')}`));
}

const sqlHomes = [
  /^services\/[^/]+\/src\/queries\.ts$/,
  /^services\/[^/]+\/src\/[^/]+\/([\w-]+-)?store\.ts$/,
  /\/migrations\//,
  /^packages\/shared\/src\/(outbox|history|database|projections\/rows)\//,
];
const sqlText = /\b(select\s+[\w(*'"$.]|insert\s+into\s|update\s+\w+\s+set\s|delete\s+from\s)/i;

/** Rule 6: SQL text is in `queries.ts`, a room's `store.ts`, `outbox/`, `history/`, `projections/rows/`, `database/` and in migrations. */
export function strayedSql(tree: Tree): string[] {
  return [...tree].flatMap(([path, text]) => {
    if (!/^(packages\/shared|services\/[^/]+)\/src\//.test(path) || !path.endsWith('.ts')) return [];
    if (sqlHomes.some((home) => home.test(path))) return [];
    return textsIn(path, text)
      .filter(({ value }) => sqlText.test(value))
      .map(({ line }) => `${path}:${line} has SQL`);
  });
}

const gatewaySources = 'services/gateway/src/';

/**
 * Rule 8: the gateway's steps are one list, in `app.ts`, all of type Step. Every function that `edge/` exports as a Step is
 * in it exactly once: as itself, or called to make the Step.
 */
export function brokenStepList(tree: Tree): string[] {
  const sources = [...tree].filter(([path]) => path.startsWith(gatewaySources) && path.endsWith('.ts'));
  const lists = sources.flatMap(([path, text]) => stepListsIn(path, text));
  if (lists.length !== 1 || lists[0]?.path !== `${gatewaySources}app.ts`) {
    const where = lists.map(({ path, line }) => `${path}:${line}`).join(' and ') || 'nowhere';
    return [`the list of the gateway's steps is ${where}, not only in ${gatewaySources}app.ts`];
  }
  const { path: app, steps } = lists[0];
  return [
    ...steps.flatMap(({ name, line }) => when(name === undefined, `${app}:${line} is a step without a name`)),
    ...sources
      .filter(([path]) => path.startsWith(`${gatewaySources}edge/`))
      .flatMap(([path, text]) => exportedSteps(path, text).map((step) => ({ path, step })))
      .flatMap(({ path, step }) => {
        const count = steps.filter(({ name }) => name === step).length;
        return when(count !== 1, `${path} exports the step ${step}, which is in the list ${count} times, not once`);
      }),
  ];
}

interface Node {
  type: string;
  start: number;
  end: number;
  [key: string]: unknown;
}

function parse(path: string, text: string): Node {
  const { program, errors } = parseSync(path, text);
  if (errors[0]) throw new Error(`${path}: ${errors[0].message}`);
  return program as unknown as Node;
}

function childrenOf(node: Node): Node[] {
  return Object.values(node)
    .flat()
    .filter((value): value is Node => typeof value === 'object' && value !== null && 'type' in value);
}

function* descendantsOf(node: Node): Generator<Node> {
  yield node;
  for (const child of childrenOf(node)) yield* descendantsOf(child);
}

const functionTypes = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression']);

function functionsIn(path: string, text: string): { name: string; line: number; ownLines: number }[] {
  const lineOf = lineCounter(text);
  const inside = (node: Node): Node[] =>
    childrenOf(node).flatMap((child) =>
      functionTypes.has(child.type) || child.type === 'ArrayExpression' ? [child] : inside(child),
    );
  const lines = (node: Node): number => lineOf(node.end) - lineOf(node.start) + 1;
  return [...descendantsOf(parse(path, text))]
    .filter(({ type }) => functionTypes.has(type))
    .map((node) => ({
      name: (node.id as { name?: string } | null)?.name ?? '(anonymous)',
      line: lineOf(node.start),
      // A function inside keeps one line here, where it is made.
      ownLines: lines(node) - inside(node).reduce((sum, each) => sum + lines(each) - 1, 0),
    }));
}

/** Strings and templates; an expression inside a template stands as `$`. */
function textsIn(path: string, text: string): { value: string; line: number }[] {
  const lineOf = lineCounter(text);
  return [...descendantsOf(parse(path, text))].flatMap((node) => {
    if (node.type === 'Literal' && typeof node.value === 'string') {
      return [{ value: node.value, line: lineOf(node.start) }];
    }
    if (node.type !== 'TemplateLiteral') return [];
    const quasis = node.quasis as { value: { raw: string } }[];
    return [{ value: quasis.map(({ value }) => value.raw).join('$'), line: lineOf(node.start) }];
  });
}

/** Arrays that are declared as `Step[]`, with the name of the function that each element is or is made by. */
function stepListsIn(path: string, text: string) {
  const lineOf = lineCounter(text);
  return [...descendantsOf(parse(path, text))].flatMap((node) => {
    const { id, init } = node as { id?: Node; init?: Node };
    const isList = node.type === 'VariableDeclarator' && init?.type === 'ArrayExpression';
    if (!isList || !/^(readonly )?Step\[\]$/.test(typeOf(id, text))) return [];
    const steps = (init.elements as Node[]).map((element) => {
      const { name } = (element.type === 'CallExpression' ? element.callee : element) as { name?: string };
      return { name, line: lineOf(element.start) };
    });
    return [{ path, line: lineOf(node.start), steps }];
  });
}

/** The names of exported functions that are a Step, or return one. A function with a parameter `next` is a Step. */
function exportedSteps(path: string, text: string): string[] {
  const exported = childrenOf(parse(path, text)).filter(({ type }) => type === 'ExportNamedDeclaration');
  return exported.flatMap(({ declaration }) => {
    const { type, declarations } = (declaration ?? {}) as { type?: string; declarations?: Node[] };
    const named = type === 'FunctionDeclaration' ? [declaration as Node] : (declarations ?? []);
    return named.flatMap((node) => {
      const { id, init } = node as { id?: Node; init?: Node | null };
      const { params, returnType } = (init ?? node) as { params?: { name?: string }[]; returnType?: Node };
      const types = [typeOf(id, text), returnType ? text.slice(returnType.start, returnType.end) : ''];
      const isStep = types.some((each) => /^:?\s*Step$/.test(each)) || params?.some(({ name }) => name === 'next');
      return isStep ? [(id as unknown as { name: string }).name] : [];
    });
  });
}

/** The type that a variable is declared with; empty when there is none. */
function typeOf(id: Node | undefined, text: string): string {
  const annotation = (id?.typeAnnotation as { typeAnnotation?: Node } | null | undefined)?.typeAnnotation;
  return annotation ? text.slice(annotation.start, annotation.end) : '';
}

function lineCounter(text: string): (offset: number) => number {
  const starts = [...text.matchAll(/\n/g)].map(({ index }) => index);
  return (offset) => {
    const next = starts.findIndex((start) => start >= offset);
    return (next < 0 ? starts.length : next) + 1;
  };
}

function workspaceOf(path: string): string {
  return /^(packages|services|tools)\/[^/]+/.exec(path)?.[0] ?? (path.split('/')[0] as string);
}

function groupBy(tree: Tree, pattern: RegExp): [string, string[]][] {
  const groups = new Map<string, string[]>();
  for (const path of tree.keys()) {
    const [, group, file] = pattern.exec(path) ?? [];
    if (group && file) groups.set(group, [...(groups.get(group) ?? []), file]);
  }
  return [...groups];
}

/** Folder → the files directly in it. */
function foldersOf(files: readonly string[]): [string, string[]][] {
  const inFolders = files.filter((file) => file.includes('/'));
  return [...Map.groupBy(inFolders, (file) => dirname(file))];
}

function when(broken: boolean, message: string): string[] {
  return broken ? [message] : [];
}
