// The operator's command on messages that were set aside: `npm run dead-letters -- list`. With AMQP_URL it works on
// RabbitMQ, without it on the files of the mesh in one process (`npm start`), which need not be running.
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { loadConfig } from '../config.ts';
import type { DeadLetter, DeadLetterStore } from '../messaging/broker.ts';
import { openFileDeadLetters } from '../messaging/in-memory/dead-letters.ts';
import { openRabbitDeadLetters } from '../messaging/rabbitmq/dead-letters.ts';

const usage = `Usage: dead-letters list [--json]
       dead-letters replay  <id …> | --all    put back into the queue they came from
       dead-letters discard <id …> | --all    throw away
Reads AMQP_URL and AMQP_PREFIX; without AMQP_URL the files in DEAD_LETTER_DIR (default DATA_DIR/dead-letters,
and DATA_DIR is .data). Each may be given as NAME_FILE.`;

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

/** Where to look; DEAD_LETTER_DIR, or the data folder of `npm start`, unless AMQP_URL names a RabbitMQ. */
async function open(): Promise<{ letters: DeadLetterStore; place: string }> {
  const { AMQP_URL, AMQP_PREFIX, DATA_DIR, DEAD_LETTER_DIR } = loadConfig(places, process.env);
  if (AMQP_URL) {
    return { letters: await openRabbitDeadLetters(AMQP_URL, { prefix: AMQP_PREFIX }), place: new URL(AMQP_URL).host };
  }
  const folder = resolve(DEAD_LETTER_DIR ?? join(DATA_DIR, 'dead-letters'));
  return { letters: openFileDeadLetters(folder), place: folder };
}

const places = z.object({
  AMQP_URL: z.string().optional(),
  AMQP_PREFIX: z.string().default(''),
  DATA_DIR: z.string().default('.data'),
  DEAD_LETTER_DIR: z.string().optional(),
});

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
  const { letters, place } = await open();
  try {
    if (verb === 'list') {
      const list = await letters.list();
      if (json) return JSON.stringify(list, null, 2);
      return list.length > 0 ? table(list) : `No dead letters in ${place}.`;
    }
    const count = await letters[verb](all ? undefined : ids);
    if (count < ids.length) process.exitCode = 1; // not all that were named are there
    return `${verb === 'replay' ? 'Put back' : 'Thrown away'}: ${count}${all ? '' : ` of ${ids.length}`}.`;
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
