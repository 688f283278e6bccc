// Personal data that can be recognised wherever it goes: every email and every phone of a run carries a mark of that
// run. Afterwards nothing but the requests themselves, and the answers to their own callers, may have seen it.
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { withClient } from '@promopulse/shared/database/provision';
import { openRabbitDeadLetters } from '@promopulse/shared/messaging/rabbitmq/dead-letters';
import type { Check } from './checks.ts';
import type { Attempt } from './history.ts';
import type { Random } from './random.ts';
import type { Stack } from './stack.ts';

export interface Canary {
  /** Lower-case letters, in every email. */
  mark: string;
  /** The first eleven digits of every phone: too many to come up by chance in a time or an id. */
  digits: string;
}

/** Some text of what is searched, and what to call the place. */
export interface Place {
  kind: 'file' | 'row' | 'dead letter' | 'error answer';
  where: string;
  text: string;
}

export function makeCanary(random: Random): Canary {
  const letters = Array.from({ length: 12 }, () => String.fromCharCode(97 + random.between(0, 25)));
  const digits = Array.from({ length: 10 }, () => random.between(0, 9));
  return { mark: `canary${letters.join('')}`, digits: `9${digits.join('')}` };
}

export function emailOf({ mark }: Canary, number: number): string {
  return `${mark}.${number}@example.com`;
}

/** In E.164, not always another one. */
export function phoneOf({ digits }: Canary, number: number): string {
  return `+${digits}${String(number % 10_000).padStart(4, '0')}`;
}

/** A kind of place of which there was nothing to see is a breach too: then the search itself is broken. */
export async function checkCanary(
  { mark, digits }: Canary,
  places: AsyncIterable<Place> | Iterable<Place>,
  wanted: readonly Place['kind'][] = ['file', 'row', 'error answer'],
): Promise<Check> {
  const seen = new Map<Place['kind'], number>();
  const breaches: string[] = [];
  for await (const { kind, where, text } of places) {
    seen.set(kind, (seen.get(kind) ?? 0) + 1);
    const lower = text.toLowerCase();
    for (const secret of [mark, digits]) {
      const at = lower.indexOf(secret);
      if (at < 0) continue;
      const around = text.slice(Math.max(0, at - 80), at + 80).replace(/[^\x20-\x7e]+/g, ' ');
      breaches.push(`${kind} ${where}: … ${around} …`);
    }
  }
  for (const kind of wanted) if (!seen.has(kind)) breaches.push(`nothing was searched: ${kind}`);
  const looked = [...seen].map(([kind, count]) => `${count} × ${kind}`).join(', ');
  return { promise: 'no email and no phone in the clear anywhere', looked, breaches };
}

/** All that a mesh leaves behind. */
export async function* everywhere(stack: Stack, history: readonly Attempt[]): AsyncGenerator<Place> {
  yield* inAnswers(history);
  yield* await inRows(stack.databaseUrl());
  yield* await inDeadLetters(stack.rabbit.url, stack.prefix);
  yield* inFiles(stack.paths());
}

/** Everything that was written under these paths: logs, and the data of the servers, byte by byte. */
export function* inFiles(paths: readonly string[]): Generator<Place> {
  for (const path of paths) {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory()) yield* inFiles(readdirSync(path).map((name) => join(path, name)));
    else if (found?.isFile()) yield* piecesOf(path);
  }
}

const pieceBytes = 16 * 2 ** 20;
/** What straddles the border of two pieces is in the second one whole. */
const overlapBytes = 64;

function* piecesOf(where: string): Generator<Place> {
  const file = openIfThere(where);
  if (file === undefined) return;
  try {
    const buffer = Buffer.alloc(pieceBytes);
    for (let from = 0; ; from += pieceBytes - overlapBytes) {
      const length = readSync(file, buffer, 0, pieceBytes, from);
      if (length > 0) yield { kind: 'file', where, text: buffer.toString('latin1', 0, length) };
      if (length < pieceBytes) return;
    }
  } finally {
    closeSync(file);
  }
}

/** A running server takes files away between the listing and the reading. */
function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Every row of every table of every schema that is not PostgreSQL's own. */
export async function inRows(databaseUrl: string): Promise<Place[]> {
  return await withClient(databaseUrl, async (client) => {
    const { rows: tables } = await client.query<{ name: string }>(
      `select format('%I.%I', schemaname, tablename) as name from pg_tables
       where schemaname not in ('pg_catalog', 'information_schema')`,
    );
    const places: Place[] = [];
    for (const { name } of tables) {
      const { rows } = await client.query<{ text: string }>(`select to_jsonb(t)::text as text from ${name} t`);
      places.push(...rows.map(({ text }) => ({ kind: 'row' as const, where: name, text })));
    }
    return places;
  });
}

export async function inDeadLetters(amqpUrl: string, prefix: string): Promise<Place[]> {
  const letters = await openRabbitDeadLetters(amqpUrl, { prefix });
  const found = await letters.list().finally(() => letters.close());
  return found.map((letter) => ({ kind: 'dead letter', where: letter.id, text: JSON.stringify(letter) }));
}

/** Headers and bodies. */
export function inAnswers(history: readonly Attempt[]): Place[] {
  return history.flatMap(({ requestId, said }) =>
    said === undefined ? [] : [{ kind: 'error answer' as const, where: requestId, text: said }],
  );
}
