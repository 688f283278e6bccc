// The operator's command on messages that were set aside: `npm run dead-letters -- list`. With AMQP_URL it works on
// RabbitMQ, without it on the files of the mesh in one process (`npm start`), which need not be running.
import { parseArgs } from 'node:util';
import type { DeadLetter, DeadLetters } from './broker.ts';
import { fileDeadLetters } from './file-dead-letters.ts';
import { rabbitDeadLetters } from './rabbit-dead-letters.ts';

const usage = `Usage: dead-letters list [--json]
       dead-letters replay  <id …> | --all    put back into the queue they came from
       dead-letters discard <id …> | --all    throw away
Reads AMQP_URL and AMQP_PREFIX; without AMQP_URL the files in DEAD_LETTER_DIR (default .data/dead-letters).`;

interface Command {
  verb: 'list' | 'replay' | 'discard';
  ids: readonly string[];
  all: boolean;
  json: boolean;
}

/** @returns undefined when it makes no sense */
function readCommand(args: string[]): Command | undefined {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { all: { type: 'boolean', default: false }, json: { type: 'boolean', default: false } },
    });
    const [verb, ...ids] = positionals;
    const { all, json } = values;
    if (verb === 'list') return ids.length > 0 || all ? undefined : { verb, ids, all, json };
    if (verb !== 'replay' && verb !== 'discard') return undefined;
    return all === ids.length > 0 || json ? undefined : { verb, ids, all, json };
  } catch {
    return undefined;
  }
}

function open(): DeadLetters | Promise<DeadLetters> {
  const { AMQP_URL, AMQP_PREFIX, DEAD_LETTER_DIR } = process.env;
  if (AMQP_URL) return rabbitDeadLetters(AMQP_URL, { prefix: AMQP_PREFIX ?? '' });
  return fileDeadLetters(DEAD_LETTER_DIR || '.data/dead-letters');
}

function table(letters: readonly DeadLetter[]): string {
  const rows = [
    ['ID', 'QUEUE', 'ROUTING KEY', 'REASON', 'ATTEMPTS', 'FAILED AT'],
    ...letters.map(({ id, queue, routingKey, reason, attempts, failedAt }) =>
      // Ids and keys may be anybody's: a control character must not reach the terminal.
      [id, queue, routingKey, reason, String(attempts), failedAt].map((cell) => cell.replaceAll(/\p{Cc}/gu, '?')),
    ),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

async function run({ verb, ids, all, json }: Command): Promise<string> {
  const letters = await open();
  try {
    if (verb === 'list') {
      const list = await letters.list();
      if (json) return JSON.stringify(list, null, 2);
      return list.length > 0 ? table(list) : 'No dead letters.';
    }
    const count = await letters[verb](all ? undefined : ids);
    return `${verb === 'replay' ? 'Put back' : 'Thrown away'}: ${count}.`;
  } finally {
    await letters.close();
  }
}

const command = readCommand(process.argv.slice(2));
if (!command) {
  process.stderr.write(`${usage}\n`);
  process.exitCode = 2;
} else {
  try {
    process.stdout.write(`${await run(command)}\n`);
  } catch (error) {
    const { message, code } = error as { message?: string; code?: string };
    process.stderr.write(`The dead letters cannot be reached: ${message || code}\n`);
    process.exitCode = 1;
  }
}
