// The operator's command for dead-lettered messages: `npm run dead-letters -- list`. With AMQP_URL it works on
// RabbitMQ, without it on the files of `npm start`, which need not be running.
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { loadConfig } from '../config.ts';
import type { DeadLetter, DeadLetterStore } from '../messaging/broker.ts';
import { openFileDeadLetters } from '../messaging/in-memory/dead-letters.ts';
import { describeConnectionError } from '../messaging/rabbitmq/connection-error.ts';
import { openRabbitDeadLetters } from '../messaging/rabbitmq/dead-letters.ts';
import { amqpConfig, rabbitEndpoint } from '../messaging/rabbitmq/endpoint.ts';

const usage = `Usage: dead-letters list [--json]
       dead-letters show    <id …>            print all fields and the body
       dead-letters replay  <id …> | --all    put messages back into their queue
       dead-letters discard <id …> | --all    delete messages
Reads AMQP_URL, AMQP_TLS_… and AMQP_PREFIX. Without AMQP_URL: the files in DEAD_LETTER_DIR (default DATA_DIR/dead-letters;
DATA_DIR is .data by default). Each variable may be given as NAME_FILE.`;

interface Command {
  verb: 'list' | 'show' | 'replay' | 'discard';
  ids: readonly string[];
  all: boolean;
  json: boolean;
}

/** @returns undefined when the arguments are not valid */
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
    if (verb === 'show') return ids.length === 0 || all || json ? undefined : { verb, ids, all, json };
    if (verb !== 'replay' && verb !== 'discard') return undefined;
    return all === ids.length > 0 || json ? undefined : { verb, ids, all, json };
  } catch {
    return undefined;
  }
}

const storeConfig = z.object({
  AMQP_PREFIX: z.string().default(''),
  DATA_DIR: z.string().default('.data'),
  DEAD_LETTER_DIR: z.string().optional(),
});

/** Opens the RabbitMQ of AMQP_URL, or else the folder DEAD_LETTER_DIR. `location` is its host or its path. */
async function openStore(): Promise<{ store: DeadLetterStore; location: string }> {
  const { AMQP_PREFIX, DATA_DIR, DEAD_LETTER_DIR } = loadConfig(storeConfig, process.env);
  if (process.env.AMQP_URL || process.env.AMQP_URL_FILE) {
    const endpoint = rabbitEndpoint(loadConfig(z.object(amqpConfig), process.env));
    const store = await openRabbitDeadLetters(endpoint, { prefix: AMQP_PREFIX });
    return { store, location: new URL(endpoint.url).host };
  }
  const folder = resolve(DEAD_LETTER_DIR ?? join(DATA_DIR, 'dead-letters'));
  return { store: openFileDeadLetters(folder), location: folder };
}

/** Ids, keys and bodies may come from any publisher: a control character must not reach the terminal. */
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?');
}

/** All that is stored of a dead letter. A body of JSON is indented. */
function page({ id, queue, routingKey, reason, attempts, failedAt, publishedBy, body }: DeadLetter): string {
  const fields = {
    id,
    queue,
    'routing key': routingKey,
    reason,
    attempts: String(attempts),
    'failed at': failedAt,
    'published by': publishedBy ?? 'unknown',
  };
  const lines = Object.entries(fields).map(([name, value]) => `${`${name}:`.padEnd(15)}${value}`);
  return [...lines, '', ...indented(body).split('\n')].map(printable).join('\n');
}

function indented(body: string): string {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}

function table(deadLetters: readonly DeadLetter[]): string {
  const rows = [
    ['ID', 'QUEUE', 'ROUTING KEY', 'REASON', 'ATTEMPTS', 'FAILED AT'],
    ...deadLetters.map(({ id, queue, routingKey, reason, attempts, failedAt }) =>
      [id, queue, routingKey, reason, String(attempts), failedAt].map(printable),
    ),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const lineOf = (row: readonly string[]): string =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ');
  return rows.map((row) => lineOf(row).trimEnd()).join('\n');
}

async function run({ verb, ids, all, json }: Command): Promise<string> {
  const { store, location } = await openStore();
  try {
    if (verb === 'list') {
      const deadLetters = await store.list();
      if (json) return JSON.stringify(deadLetters, null, 2);
      return deadLetters.length > 0 ? table(deadLetters) : `No dead letters in ${location}.`;
    }
    if (verb === 'show') {
      const found = (await store.list()).filter(({ id }) => ids.includes(id));
      if (!ids.every((id) => found.some((deadLetter) => deadLetter.id === id))) process.exitCode = 1;
      return found.length > 0 ? found.map(page).join('\n\n') : `None of these dead letters is in ${location}.`;
    }
    const count = await store[verb](all ? undefined : ids);
    if (count < ids.length) process.exitCode = 1; // some of the ids do not exist
    return `${verb === 'replay' ? 'Replayed' : 'Discarded'}: ${count}${all ? '' : ` of ${ids.length}`}.`;
  } finally {
    await store.close();
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
    process.stderr.write(`The dead letters cannot be reached: ${describeConnectionError(error)}\n`);
    process.exitCode = 1;
  }
}
