// The floor: the very statements that a service sends, prepared, from pgbench.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Database, Statement } from '../packages/shared/src/database.ts';
import type { Load } from './rounds.ts';
import { findProgram, runPinned } from './wrk.ts';

/** What a use of the database sends, told by letting it run on a database that only listens. */
export async function statementOf(use: (database: Database) => Promise<unknown>): Promise<Statement> {
  const sent: Statement[] = [];
  const listen = async (statement: Statement): Promise<never[]> => {
    sent.push(statement);
    return [];
  };
  await use({ run: listen, write: listen } as unknown as Database);
  const [statement, ...others] = sent;
  if (!statement || others.length > 0) throw new Error(`one statement was expected, not ${sent.length}`);
  return statement;
}

export interface Script {
  statement: Statement;
  /** What stands for $1, $2, …: pgbench variables or SQL. */
  values: readonly string[];
  /** Set before each transaction: name → pgbench expression. */
  set?: Record<string, string>;
}

/** @throws when pgbench is absent, or when a transaction failed */
export async function pgbench(
  folder: string,
  url: string,
  script: Script,
  { clients, seconds }: { clients: number; seconds: number },
): Promise<Load> {
  const program = process.env.PGBENCH ?? findProgram('pgbench');
  if (!program) throw new Error('pgbench is not installed');
  const file = join(folder, 'pgbench.sql');
  writeFileSync(file, textOf(script));
  const options = ['-n', '-M', 'prepared', '-c', String(clients), '-j', '1', '-T', String(seconds), '-f', file];
  const { stdout, stderr } = await runPinned(undefined, program, [...options, url]);
  const number = (pattern: RegExp): number => Number(pattern.exec(stdout)?.[1] ?? Number.NaN);
  const count = number(/transactions actually processed: (\d+)/);
  const failed = number(/number of failed transactions: (\d+)/);
  if (!(count > 0) || failed > 0)
    throw new Error(`pgbench failed: ${stderr.trim().split('\n').slice(0, 3).join('; ')}`);
  const average = number(/latency average = ([\d.]+) ms/);
  return { count, perSecond: number(/tps = ([\d.]+)/), p50: average, p99: Number.NaN };
}

function textOf({ statement, values, set = {} }: Script): string {
  const lines = Object.entries(set).map(([name, expression]) => `\\set ${name} ${expression}`);
  const text = statement.text
    // Within quotes, too, pgbench takes `:MI` for a variable.
    .replaceAll(/'[^']*'/g, (literal) => (literal.includes(':') ? `E${literal.replaceAll(':', '\\x3a')}` : literal))
    .replaceAll(/\$(\d+)/g, (_, position) => values[Number(position) - 1] ?? 'null');
  return `${[...lines, text].join('\n')};\n`;
}
