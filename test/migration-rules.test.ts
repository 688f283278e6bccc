// Migrations hold up no request, and replicas of the release before keep working while they run.
import { globSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { dangerousStatements } from './support/migration-rules.ts';

const root = resolve(import.meta.dirname, '..');

/** Migrations up to this one were written before there were rules. */
const lastUnruled = 'Migration20261125123730';

/** A statement that may stand although a rule forbids it: `<migration>: <rule>` → why it is harmless. */
const exceptions: Record<string, string> = {
  'Migration20261130121027_initial: time-outs': 'a setting of the function that drops a day, and not of the migration',
  'Migration20261129113411_wide_ids: removal or renaming':
    'in the way back (down): the function with wide ids is replaced by the one before it',
};

const paths = globSync('services/*/src/migrations/*.ts', { cwd: root }).sort();
const nameOf = (path: string) => basename(path, '.ts');

test('no migration has a statement that requests or old replicas would suffer from, but those in the list', () => {
  const found = paths
    .filter((path) => nameOf(path).slice(0, lastUnruled.length) > lastUnruled)
    .flatMap((path) => dangerousStatements(nameOf(path), readFileSync(join(root, path), 'utf8')));
  const unlisted = found.filter((text) => !Object.keys(exceptions).some((listed) => text.startsWith(`${listed}: `)));
  expect(unlisted).toEqual([]);
  const needless = Object.keys(exceptions).filter((listed) => !found.some((text) => text.startsWith(`${listed}: `)));
  expect(needless).toEqual([]);
});

test('the migrations are looked at', () => {
  expect(paths.length).toBeGreaterThan(10);
  const [path = ''] = paths.filter((each) => each.includes('epoch_and_parked_rows'));
  expect(dangerousStatements(nameOf(path), readFileSync(join(root, path), 'utf8')).join()).toMatch(
    /: blocking index: /,
  );
});

const migration = (statements: readonly string[], members = '') => `
  export class Migration1 extends Migration {
    ${members}
    override up() { ${statements.map((sql) => `this.addSql(\`${sql}\`);`).join('\n')} }
    override down() { this.addSql('drop table "s"."t";'); }
  }`;
const rulesIn = (statements: readonly string[], members?: string) =>
  dangerousStatements('Migration1', migration(statements, members)).map((text) => text.split(': ')[1]);
const outsideTransaction = 'override isTransactional() { return false; }';

test.each([
  ['blocking index', 'create index "i" on "s"."t" ("a");'],
  ['blocking index', 'create unique index i on s.t using btree (a)'],
  ['concurrently in a transaction', 'create index concurrently if not exists i on s.t (a)'],
  ['concurrently in a transaction', 'drop index concurrently if exists s.i'],
  ['type', 'alter table "s"."t" alter column "a" type bigint using ("a"::bigint);'],
  ['type', 'alter table s.t alter a set data type text'],
  ['constraint that scans', `alter table "s"."t" add constraint "c" check ("a" in ('x'));`],
  ['constraint that scans', 'alter table s.t add constraint c foreign key (a) references s.u (id)'],
  ['constraint that builds an index', 'alter table "s"."t" add constraint "c" unique ("a");'],
  ['constraint that builds an index', 'alter table s.t add primary key (a)'],
  ['set not null', 'alter table "s"."t" alter column "a" set not null;'],
  ['column that rewrites', 'alter table s.t add a uuid default gen_random_uuid()'],
  ['column that rewrites', 'alter table s.t add column a bigserial'],
  ['column that rewrites', 'alter table s.t add column a int generated always as (b + 1) stored'],
  ['column without a default', 'alter table "s"."t" add "a" int not null;'],
  ['removal or renaming', 'alter table "s"."t" drop column "a";'],
  ['removal or renaming', 'alter table "s"."t" rename column "a" to "b";'],
  ['removal or renaming', 'alter table s.t rename to u'],
  ['removal or renaming', 'drop table if exists s.t'],
  ['rows of a whole table', 'update s.t set a = 1 where a is null'],
  ['rows of a whole table', 'delete from s.t where a > 1'],
  ['rewrite of a table', 'vacuum full s.t'],
  ['time-outs', "set lock_timeout = '10min'"],
])('%s: %s', (rule, statement) => {
  expect(rulesIn([statement])).toEqual([rule]);
});

test('a constraint is validated in a transaction of its own', () => {
  const statements = [
    'alter table s.t add constraint c check (a > 0) not valid',
    'alter table s.t validate constraint c',
  ];
  expect(rulesIn(statements)).toEqual(['validation under a strong lock']);
  expect(rulesIn(statements, outsideTransaction)).toEqual([]);
});

test('a concurrent index must be repeatable', () => {
  expect(rulesIn(['create index concurrently i on s.t (a)'], outsideTransaction)).toEqual([
    'index that is not repeatable',
  ]);
});

test.each([
  [['create table "s"."t" ("id" bigserial primary key, "a" int not null);', 'create index "i" on "s"."t" ("a");']],
  [['create table s.t (id int)', 'alter table s.t add constraint c check (id > 0)', 'update s.t set id = 1']],
  [['alter table "s"."t" add "a" int null;']],
  [['alter table s.t add a timestamptz not null default now()']],
  [["alter table s.t add a text not null default 'x', add b int"]],
  [['alter table s.t add constraint c check (a > 0) not valid', 'alter table s.u validate constraint d']],
  [['alter table s.t validate constraint c', 'alter table s.t alter column a set not null']],
  [['alter table s.t add constraint c unique using index i']],
  [['alter table s.t alter column a set default 1', 'drop index s.i', 'alter table s.t drop constraint c']],
  [['update s.t set a = 1 where id in (select id from s.t where a is null limit 1000)']],
  [['create or replace function s.f() returns int language sql as $$ delete from s.t; select 1 $$']],
  [['insert into s.t values (1)', 'select s.f()']],
])('%j may stand', (statements) => {
  expect(rulesIn(statements)).toEqual([]);
});

test('concurrent statements may stand outside a transaction', () => {
  const statements = [
    'drop index concurrently if exists s.j',
    'create unique index concurrently if not exists i on s.t (a)',
  ];
  expect(rulesIn(statements, outsideTransaction)).toEqual([]);
});
