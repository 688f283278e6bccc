// A small SQL prompt for machines without psql: statements end with `;`, results are tables, and the commands are the
// few that a look at a database needs.
import { createInterface } from 'node:readline/promises';
import { withClient } from '@promopulse/shared/database/provision';
import type pg from 'pg';

const usage = 'Usage: npm run psql -- [service] [-c "select …"]';
const help = `A statement ends with ; and may have several lines.
  \\dt         list the tables
  \\d <table>  list the columns of a table
  \\q          end`;

const tablesSql = `select schemaname as schema, tablename as name from pg_tables
  where schemaname not in ('pg_catalog', 'information_schema') and has_schema_privilege(schemaname, 'usage') order by 1, 2`;
const columnsSql = `select attname as column, format_type(atttypid, atttypmod) as type, attnotnull as not_null
  from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum`;

/** @returns the exit code */
export async function runSqlPrompt(url: string, args: readonly string[]): Promise<number> {
  const [option, text, ...rest] = args;
  if (args.length > 0 && (option !== '-c' || text === undefined || rest.length > 0)) {
    process.stderr.write(`${usage}\nMore options need PostgreSQL's psql, which is not installed.\n`);
    return 2;
  }
  return await withClient(url, async (client) => {
    if (text !== undefined) return (await execute(client, text)) ? 0 : 1;
    await converse(client);
    return 0;
  });
}

async function converse(client: pg.Client): Promise<void> {
  const { rows } = await client.query('select current_user as user, current_database() as database');
  process.stdout.write(
    `${rows[0]?.database} as ${rows[0]?.user}. psql is not installed: this is a small prompt.\n${help}\n`,
  );
  const isTerminal = process.stdin.isTTY === true;
  const lines = createInterface({ input: process.stdin, output: process.stdout, terminal: isTerminal });
  let statement = '';
  const ask = (): void => {
    lines.setPrompt(statement === '' ? '=> ' : '-> ');
    if (isTerminal) lines.prompt();
  };
  lines.on('SIGINT', () => lines.close());
  ask();
  for await (const line of lines) {
    if (line.trim() === '\\q') {
      statement = '';
      break;
    }
    statement += `${line}\n`;
    if (/^\s*\\|;\s*$/.test(statement)) {
      await execute(client, statement);
      statement = '';
    } else if (statement.trim() === '') statement = '';
    ask();
  }
  lines.close();
  if (!isTerminal && statement.trim() !== '') await execute(client, statement); // a file may lack the last ;
}

/** Prints the result or the error. @returns whether it was executed */
async function execute(client: pg.Client, text: string): Promise<boolean> {
  try {
    const [, command, argument] = /^\s*(\\\S+)\s*(\S*?);?\s*$/.exec(text) ?? [];
    for (const result of await queryAll(client, text, command, argument)) process.stdout.write(`${shown(result)}\n`);
    return true;
  } catch (error) {
    process.stderr.write(`ERROR:  ${(error as Error).message}\n`);
    return false;
  }
}

async function queryAll(client: pg.Client, text: string, command = '', argument = ''): Promise<pg.QueryArrayResult[]> {
  const query = async (sql: string, values?: string[]): Promise<pg.QueryArrayResult[]> => {
    const config: pg.QueryArrayConfig = { text: sql, rowMode: 'array', ...(values && { values }) };
    return [await client.query(config)].flat(); // several statements have several results
  };
  if (command === '') return await query(text);
  if (command === '\\dt') return await query(tablesSql);
  if (command === '\\d') return argument === '' ? await query(tablesSql) : await query(columnsSql, [argument]);
  throw new Error(`unknown command ${command}\n${help}`);
}

/** A table in the form of psql, or what was done. */
function shown({ command, rowCount, fields, rows }: pg.QueryArrayResult): string {
  if (fields.length === 0) return rowCount === null ? command : `${command} ${rowCount}`;
  const header = fields.map(({ name }) => name);
  const cells = rows.map((row) => row.map(textOf));
  const widths = header.map((name, column) => Math.max(name.length, ...cells.map((row) => row[column]?.length ?? 0)));
  const line = (row: string[]) =>
    ` ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')}`.trimEnd();
  const rule = widths.map((width) => '-'.repeat(width + 2)).join('+');
  const count = `(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`;
  return [line(header), rule, ...cells.map(line), count, ''].join('\n');
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (value instanceof Date) return value.toISOString();
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
  return text.replaceAll(/\p{Cc}/gu, ' '); // stored texts must not reach the terminal as commands
}
