// The reference without a server: the very statements that a service sends, prepared, from pgbench.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Database } from '@promopulse/shared/database/database';
import type { Statement } from '@promopulse/shared/database/prepared';
import { findPgbench, runPinned } from './programs.ts';
import type { Load } from './rounds.ts';

/**
 * @returns the statement that `use` sends: it runs on a database that only records statements
 * @throws unless it sends exactly one
 */
export async function statementOf(use: (database: Database) => Promise<unknown>): Promise<Statement> {
  const sent: Statement[] = [];
  const record = async (statement: Statement): Promise<never[]> => {
    sent.push(statement);
    return [];
  };
  await use({ run: record, write: record } as unknown as Database);
  const [statement, ...others] = sent;
  if (!statement || others.length > 0) throw new Error(`expected one statement, not ${sent.length}`);
  return statement;
}

export interface PgbenchScript {
  statement: Statement;
  /** Replacements of $1, $2, …: pgbench variables or SQL. */
  values: readonly string[];
  /** Variables set before each transaction: name → pgbench expression. */
  set?: Record<string, string>;
}

/** @throws when pgbench is not installed, or when a transaction failed */
export async function runPgbench(
  folder: string,
  url: string,
  script: PgbenchScript,
  { clients, seconds }: { clients: number; seconds: number },
): Promise<Load> {
  const program = findPgbench();
  if (!program) throw new Error('pgbench is not installed');
  const file = join(folder, 'pgbench.sql');
  writeFileSync(file, pgbenchText(script));
  const options = ['-n', '-M', 'prepared', '-c', String(clients), '-j', '1', '-f', file];
  let [stdout, stderr, count] = ['', '', 0];
  const number = (pattern: RegExp): number => Number(pattern.exec(stdout)?.[1] ?? Number.NaN);
  // On a very busy machine a short run can end before all clients are connected. It is then repeated, a second longer.
  for (let extra = 0; extra < 5 && !(count > 0); extra += 1) {
    ({ stdout, stderr } = await runPinned(undefined, program, [...options, '-T', String(seconds + extra), url]));
    count = number(/transactions actually processed: (\d+)/);
  }
  if (!(count > 0) || number(/number of failed transactions: (\d+)/) > 0) {
    throw new Error(`pgbench failed: ${`${stdout}${stderr}`.trim().split('\n').slice(-5).join('; ')}`);
  }
  const average = number(/latency average = ([\d.]+) ms/);
  return { count, perSecond: number(/tps = ([\d.]+)/), p50: average, p99: Number.NaN };
}

/** The text of the script, as pgbench reads it. */
export function pgbenchText({ statement, values, set = {} }: PgbenchScript): string {
  const lines = Object.entries(set).map(([name, expression]) => `\\set ${name} ${expression}`);
  const text = statement.text
    // pgbench takes `:MI` for a variable, also inside quotes.
    .replaceAll(/'[^']*'/g, (literal) => (literal.includes(':') ? `E${literal.replaceAll(':', '\\x3a')}` : literal))
    .replaceAll(/\$(\d+)/g, (_, position) => values[Number(position) - 1] ?? 'null');
  return `${[...lines, text].join('\n')};\n`;
}
