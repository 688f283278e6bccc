// Which statements a migration may not have, because requests would wait for them, or because replicas of the release
// before would fail (CONTRIBUTING, "Write a migration"). It reads the SQL in a migration's `up`. That is no parser of
// SQL: it looks for the usual spellings.
import { parseSync } from 'oxc-parser';

interface Rule {
  /** What stands in the list of exceptions. */
  name: string;
  pattern: RegExp;
  /** True: harmless after all. `table` is the name that the pattern has found. */
  mayStand?: (context: Context, table: string) => boolean;
  instead: string;
}

interface Context {
  statement: string;
  /** Tables that this migration creates: nothing else uses them yet. */
  created: ReadonlySet<string>;
  /** Tables with a constraint that this migration has validated before this statement. */
  validated: ReadonlySet<string>;
  /** Tables that this migration has altered before this statement, so that they are locked if it is transactional. */
  altered: ReadonlySet<string>;
  transactional: boolean;
}

const name = String.raw`((?:"?\w+"?\.)?"?\w+"?)`;
const alter = String.raw`\balter\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?${name}\s[\s\S]*?`;
const onNewTable: Rule['mayStand'] = ({ created }, table) => created.has(table);

const rules: Rule[] = [
  {
    name: 'blocking index',
    pattern: new RegExp(
      String.raw`\bcreate\s+(?:unique\s+)?index\s+(?!concurrently)[\s\S]*?\bon\s+(?:only\s+)?${name}`,
      'i',
    ),
    mayStand: onNewTable,
    instead: 'create index concurrently if not exists, outside a transaction',
  },
  {
    name: 'index that is not repeatable',
    pattern: /\bcreate\s+(?:unique\s+)?index\s+concurrently\s+(?!if\s+not\s+exists)/i,
    instead: 'create index concurrently if not exists: the migration is repeated after a failure',
  },
  {
    name: 'concurrently in a transaction',
    pattern: /\bconcurrently\b/i,
    mayStand: ({ transactional }) => !transactional,
    instead: 'isTransactional() { return false; }',
  },
  {
    name: 'type',
    pattern: new RegExp(String.raw`${alter}\balter\s+(?:column\s+)?"?\w+"?\s+(?:set\s+data\s+)?type\b`, 'i'),
    mayStand: onNewTable,
    instead: 'a new column, filled in batches',
  },
  {
    name: 'constraint that scans',
    pattern: new RegExp(String.raw`${alter}\badd\s+(?:constraint\s+"?\w+"?\s+)?(?:check|foreign\s+key)\b`, 'i'),
    mayStand: (context, table) => onNewTable(context, table) || /\bnot\s+valid\b/i.test(context.statement),
    instead: 'add constraint … not valid, then validate constraint in a second migration',
  },
  {
    name: 'constraint that builds an index',
    pattern: new RegExp(
      String.raw`${alter}\badd\s+(?:constraint\s+"?\w+"?\s+)?(?:unique|primary\s+key|exclude)\b`,
      'i',
    ),
    mayStand: (context, table) => onNewTable(context, table) || /\busing\s+index\b/i.test(context.statement),
    instead: 'create unique index concurrently, then add constraint … using index',
  },
  {
    name: 'validation under a strong lock',
    pattern: new RegExp(String.raw`${alter}\bvalidate\s+constraint\b`, 'i'),
    mayStand: (context, table) => !context.transactional || onNewTable(context, table) || !context.altered.has(table),
    instead: 'validate constraint in a second migration: this transaction keeps its lock until the scan is over',
  },
  {
    name: 'set not null',
    pattern: new RegExp(String.raw`${alter}\bset\s+not\s+null\b`, 'i'),
    mayStand: (context, table) => onNewTable(context, table) || context.validated.has(table),
    instead: 'check (… is not null) not valid, validate constraint, then set not null',
  },
  {
    name: 'column that rewrites',
    pattern: new RegExp(
      String.raw`${alter}\badd\s+(?!constraint|check|unique|primary|foreign|exclude)(?:column\s+)?[\s\S]*(?:\b(?:small|big)?serial\b|generated\s|\b(?:nextval|gen_random_uuid|uuidv[47]|random|clock_timestamp)\s*\()`,
      'i',
    ),
    mayStand: onNewTable,
    instead: 'a column without a default, a default in a second statement, and batches for the rows that are there',
  },
  {
    name: 'column without a default',
    pattern: new RegExp(
      String.raw`${alter}\badd\s+(?!constraint|check|unique|primary|foreign|exclude)(?:column\s+)?(?:(?!default)[\s\S])*\bnot\s+null\b(?![\s\S]*\bdefault\b)`,
      'i',
    ),
    mayStand: onNewTable,
    instead: 'a nullable column, or one with a constant default: replicas of the release before do not fill it',
  },
  {
    name: 'removal or renaming',
    pattern: new RegExp(
      String.raw`(?:${alter}\b(?:drop\s+column|rename)\b|\bdrop\s+(?:table|function|view)\b|\bdrop\s+(?!constraint|index|trigger|column)"\w+")`,
      'i',
    ),
    mayStand: onNewTable,
    instead: 'an exception that says since which release nothing uses it',
  },
  {
    name: 'rows of a whole table',
    pattern: new RegExp(String.raw`^\s*(?:update|delete\s+from)\s+(?:only\s+)?${name}`, 'i'),
    mayStand: (context, table) => onNewTable(context, table) || /\blimit\b/i.test(context.statement),
    instead: 'batches with a limit, outside a transaction',
  },
  {
    name: 'rewrite of a table',
    pattern: /\b(?:vacuum\s+full|cluster\s|set\s+tablespace|set\s+(?:un)?logged)\b/i,
    instead: 'a new table, filled in batches',
  },
  {
    name: 'time-outs',
    pattern: /\bset\s+(?:local\s+|session\s+)?(?:lock|statement)_timeout\b/i,
    instead: 'nothing: the migrator sets them',
  },
];

/** One text per statement that a rule forbids: `<migration>: <rule>: <statement>; instead: …`. */
export function dangerousStatements(migration: string, source: string): string[] {
  const { statements, transactional } = readMigration(migration, source);
  const created = new Set(
    statements.flatMap((each) => tablesOf(each, /\bcreate\s+table\s+(?:if\s+not\s+exists\s+)?/gi)),
  );
  const [validated, altered] = [new Set<string>(), new Set<string>()];
  return statements.flatMap((statement) => {
    const found = rules.filter(({ pattern, mayStand }) => {
      const match = pattern.exec(statement);
      return match && !mayStand?.({ statement, created, validated, altered, transactional }, plain(match[1] ?? ''));
    });
    const isValidation = /\bvalidate\s+constraint\b/i.test(statement);
    for (const table of tablesOf(statement, /\balter\s+table\s+/gi)) (isValidation ? validated : altered).add(table);
    return found.map(
      (rule) => `${migration}: ${rule.name}: ${statement.trim().slice(0, 100)}; instead: ${rule.instead}`,
    );
  });
}

function tablesOf(statement: string, before: RegExp): string[] {
  return [...statement.matchAll(new RegExp(before.source + name, 'gi'))].map(([, table = '']) => plain(table));
}

function plain(table: string): string {
  return table.replaceAll('"', '').replace(/^.*\./, '').toLowerCase();
}

interface Node {
  type: string;
  [key: string]: unknown;
}

function* descendantsOf(node: Node): Generator<Node> {
  yield node;
  for (const child of Object.values(node).flat()) {
    if (typeof child === 'object' && child !== null && 'type' in child) yield* descendantsOf(child as Node);
  }
}

/** The SQL texts of `up`, in order, each statement on its own; bodies of functions are left out. */
function readMigration(path: string, source: string): { statements: string[]; transactional: boolean } {
  const program = parseSync(`${path}.ts`, source).program as unknown as Node;
  const methods = [...descendantsOf(program)].filter(({ type }) => type === 'MethodDefinition');
  const method = (wanted: string) => methods.find(({ key }) => (key as { name?: string }).name === wanted);
  const texts = [...descendantsOf(method('up') ?? { type: 'none' })].flatMap((node) => {
    if (node.type === 'Literal' && typeof node.value === 'string') return [node.value];
    if (node.type !== 'TemplateLiteral') return [];
    return [(node.quasis as { value: { raw: string } }[]).map(({ value }) => value.raw).join('$')];
  });
  const isTransactional = [...descendantsOf(method('isTransactional') ?? { type: 'none' })];
  return {
    statements: texts
      .flatMap((text) => text.replace(/\$(\w*)\$[\s\S]*?\$\1\$/g, "''").split(';'))
      .filter((text) => text.trim()),
    transactional: !isTransactional.some(({ type, value }) => type === 'Literal' && value === false),
  };
}
