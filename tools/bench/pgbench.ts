// The floor: the very statements that a service sends, prepared, from pgbench.
import { globSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Database } from '@promopulse/shared/database/database';
import type { Statement } from '@promopulse/shared/database/prepared';
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

/** PGBENCH, or where Debian keeps the program itself: the one in its PATH is a script that costs more to start. */
export function findPgbench(): string | undefined {
  if (process.env.PGBENCH) return process.env.PGBENCH;
  return globSync('/usr/lib/postgresql/*/bin/pgbench').toSorted().at(-1) ?? findProgram('pgbench');
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
  const program = findPgbench();
  if (!program) throw new Error('pgbench is not installed');
  const file = join(folder, 'pgbench.sql');
  writeFileSync(file, textOf(script));
  const options = ['-n', '-M', 'prepared', '-c', String(clients), '-j', '1', '-f', file];
  let [stdout, stderr, count] = ['', '', 0];
  const number = (pattern: RegExp): number => Number(pattern.exec(stdout)?.[1] ?? Number.NaN);
  // On a machine that is very busy a short run may be over before all clients are connected.
  for (let longer = 0; longer < 5 && !(count > 0); longer += 1) {
    ({ stdout, stderr } = await runPinned(undefined, program, [...options, '-T', String(seconds + longer), url]));
    count = number(/transactions actually processed: (\d+)/);
  }
  if (!(count > 0) || number(/number of failed transactions: (\d+)/) > 0) {
    throw new Error(`pgbench failed: ${`${stdout}${stderr}`.trim().split('\n').slice(-5).join('; ')}`);
  }
  const average = number(/latency average = ([\d.]+) ms/);
  return { count, perSecond: number(/tps = ([\d.]+)/), p50: average, p99: Number.NaN };
}

/** A script for pgbench. */
export function textOf({ statement, values, set = {} }: Script): string {
  const lines = Object.entries(set).map(([name, expression]) => `\\set ${name} ${expression}`);
  const text = statement.text
    // Within quotes, too, pgbench takes `:MI` for a variable.
    .replaceAll(/'[^']*'/g, (literal) => (literal.includes(':') ? `E${literal.replaceAll(':', '\\x3a')}` : literal))
    .replaceAll(/\$(\d+)/g, (_, position) => values[Number(position) - 1] ?? 'null');
  return `${[...lines, text].join('\n')};\n`;
}
