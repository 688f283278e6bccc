// Personal data that can be recognised: every email and every phone of a run contains a mark of that run. The promise:
// after the run the mark is only in the requests themselves and in the responses to their own callers. The same holds for
// the API keys of the run.
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { withClient } from '@promopulse/shared/database/provision';
import { openRabbitDeadLetters } from '@promopulse/shared/messaging/rabbitmq/dead-letters';
import type { Random } from '../../local/random.ts';
import type { Check } from './check.ts';
import type { Attempt } from './history.ts';
import type { Stack } from './stack.ts';

export interface Canary {
  /** Lower-case letters that every email contains. */
  mark: string;
  /** The first eleven digits of every phone: too many to occur by chance in a time or an id. */
  digits: string;
  /** The API keys of the run. */
  secrets: readonly string[];
}

/** A piece of text to search, and where it was found. */
export interface SearchedText {
  source: 'file' | 'span' | 'metrics' | 'row' | 'dead letter' | 'error response';
  /** A path, a table's name, or an id. */
  location: string;
  text: string;
}

export function makeCanary(random: Random): Canary {
  const letters = Array.from({ length: 12 }, () => String.fromCharCode(97 + random.between(0, 25)));
  const digits = Array.from({ length: 10 }, () => random.between(0, 9));
  return { mark: `canary${letters.join('')}`, digits: `9${digits.join('')}`, secrets: [] };
}

export function emailOf({ mark }: Canary, number: number): string {
  return `${mark}.${number}@example.com`;
}

/** In E.164 format. Phones repeat after 10,000 numbers. */
export function phoneOf({ digits }: Canary, number: number): string {
  return `+${digits}${String(number % 10_000).padStart(4, '0')}`;
}

/** @param required a source without any text is a breach, because then the search itself does not work */
export async function checkCanary(
  { mark, digits, secrets }: Canary,
  texts: AsyncIterable<SearchedText> | Iterable<SearchedText>,
  required: readonly SearchedText['source'][] = ['file', 'row', 'error response'],
): Promise<Check> {
  const counts = new Map<SearchedText['source'], number>();
  const breaches: string[] = [];
  const marks = [mark, digits, ...secrets.map((secret) => secret.toLowerCase())];
  for await (const { source, location, text } of texts) {
    counts.set(source, (counts.get(source) ?? 0) + 1);
    const lower = text.toLowerCase();
    for (const secret of marks) {
      const at = lower.indexOf(secret);
      if (at < 0) continue;
      const excerpt = text.slice(Math.max(0, at - 80), at + 80).replace(/[^\x20-\x7e]+/g, ' ');
      breaches.push(`${source} ${location}: … ${excerpt} …`);
    }
  }
  for (const source of required) if (!counts.has(source)) breaches.push(`no text was searched: ${source}`);
  const examined = [...counts].map(([source, count]) => `${count} × ${source}`).join(', ');
  const promise = 'no email, no phone and no API key unencrypted anywhere';
  return { promise, examined: `${examined}; ${secrets.length} keys`, breaches };
}

/** The sources that every run has. */
export function requiredSources({ spanFile, replicas }: Stack): SearchedText['source'][] {
  const isMeasured = replicas.some(({ metricsPort }) => metricsPort !== undefined);
  return [
    ...(['file', 'row', 'error response'] as const),
    ...(spanFile === undefined ? [] : (['span'] as const)),
    ...(isMeasured ? (['metrics'] as const) : []),
  ];
}

/** Everything that a run leaves behind. */
export async function* allTexts(
  stack: Stack,
  history: readonly Attempt[],
  metrics: ReadonlyMap<string, string>,
): AsyncGenerator<SearchedText> {
  yield* textsInErrorResponses(history);
  yield* await textsInRows(stack.databaseUrl());
  yield* await textsInDeadLetters(stack.rabbit.url, stack.prefix);
  for (const [location, text] of metrics) yield { source: 'metrics', location, text };
  for (const found of textsInFiles(stack.paths())) {
    yield found.location === stack.spanFile ? { ...found, source: 'span' } : found;
  }
}

/** Every file under these paths, byte by byte: logs, and the data of the servers. */
export function* textsInFiles(paths: readonly string[]): Generator<SearchedText> {
  for (const path of paths) {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats?.isDirectory()) yield* textsInFiles(readdirSync(path).map((name) => join(path, name)));
    else if (stats?.isFile()) yield* chunksOf(path);
  }
}

const chunkBytes = 16 * 2 ** 20;
/** Consecutive chunks overlap, so text on the boundary of two chunks is complete in the second one. */
const overlapBytes = 64;

function* chunksOf(location: string): Generator<SearchedText> {
  const file = openIfPresent(location);
  if (file === undefined) return;
  try {
    const buffer = Buffer.alloc(chunkBytes);
    for (let position = 0; ; position += chunkBytes - overlapBytes) {
      const length = readSync(file, buffer, 0, chunkBytes, position);
      if (length > 0) yield { source: 'file', location, text: buffer.toString('latin1', 0, length) };
      if (length < chunkBytes) return;
    }
  } finally {
    closeSync(file);
  }
}

/** A running server may delete a file between the listing and the reading. */
function openIfPresent(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Every row of every table outside PostgreSQL's own schemas. */
export async function textsInRows(databaseUrl: string): Promise<SearchedText[]> {
  return await withClient(databaseUrl, async (client) => {
    const { rows: tables } = await client.query<{ name: string }>(
      `select format('%I.%I', schemaname, tablename) as name from pg_tables
       where schemaname not in ('pg_catalog', 'information_schema')`,
    );
    const texts: SearchedText[] = [];
    for (const { name } of tables) {
      const { rows } = await client.query<{ text: string }>(`select to_jsonb(t)::text as text from ${name} t`);
      texts.push(...rows.map(({ text }) => ({ source: 'row' as const, location: name, text })));
    }
    return texts;
  });
}

export async function textsInDeadLetters(amqpUrl: string, prefix: string): Promise<SearchedText[]> {
  const store = await openRabbitDeadLetters({ url: amqpUrl }, { prefix });
  const deadLetters = await store.list().finally(() => store.close());
  return deadLetters.map((deadLetter) => ({
    source: 'dead letter',
    location: deadLetter.id,
    text: JSON.stringify(deadLetter),
  }));
}

/** Headers and bodies of the error responses. */
export function textsInErrorResponses(history: readonly Attempt[]): SearchedText[] {
  return history.flatMap(({ requestId, errorText }) =>
    errorText === undefined ? [] : [{ source: 'error response' as const, location: requestId, text: errorText }],
  );
}
