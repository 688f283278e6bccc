// The two ways to write into a history: beside the event of a `recordingStatement`, or in a transaction. The promise: a
// change has its row in the history if and only if it was committed.
import type { EntityManager } from '@mikro-orm/postgresql';
import type { Cause } from '../contracts/cause.ts';
import type { Table } from '../database/prepared.ts';
import type { RecordedBeside } from '../outbox/outbox.ts';
import { fieldSql } from '../outbox/payload.ts';
import type { Change, History } from './history-table.ts';

/** For a statement that inserts rows of the entity: every field that is not null was set. */
export function recordCreation(history: History, entity: Table): RecordedBeside {
  const nullable = nullableColumns(entity);
  const changes = history.fields.map((field) => {
    const change = listSql([changeSql(history, field, 'null')]);
    const column = columnOf(history, field);
    return nullable.has(column) ? `case when "${column}" is null then '[]' else ${change} end` : change;
  });
  return recordedBeside(history, [], changes.join(' || '));
}

/** For a statement that updates rows of the entity, and sets each of these fields to another value. */
export function recordUpdate(history: History, fields: readonly string[]): RecordedBeside {
  const old = (field: string): string => `old_${columnOf(history, field)}`;
  const returning = fields.map((field) => `old."${columnOf(history, field)}" as "${old(field)}"`);
  const { contract } = history;
  const from = (field: string): string => (contract ? fieldSql(contract, field, old(field)) : 'null');
  const changes = fields.map((field) => changeSql(history, field, from(field)));
  return recordedBeside(history, returning, listSql(changes));
}

/**
 * Writes a change into the history, in the transaction of `em`, after the change. The version and the time are those that
 * the row of the entity has now.
 */
export async function recordHistory(
  em: EntityManager,
  { table, historyTable, idColumn }: History,
  { id, changes }: { id: number; changes: readonly Change[] },
  { actor, requestId, reason }: Cause,
): Promise<void> {
  const text = `insert into ${historyTable} (${idColumn}, version, at, actor, request_id, reason, changes)
    select id, version, updated_at, ?, ?, ?, ?::jsonb from ${table} where id = ?`;
  await em.execute(text, [actor ?? null, requestId, reason ?? null, JSON.stringify(changes), id], 'run');
}

function recordedBeside(
  { historyTable, idColumn }: History,
  returning: readonly string[],
  changes: string,
): RecordedBeside {
  return {
    returning,
    parameters: ['reason'],
    insert: (position) => `insert into ${historyTable} (${idColumn}, version, at, actor, request_id, reason, changes)
      select id, version, updated_at, ${['actor', 'request_id', 'reason'].map(position).join(', ')}, ${changes}
      from changed`,
  };
}

function changeSql({ contract }: History, field: string, from: string): string {
  if (!contract) return `jsonb_build_object('field', '${field}')`;
  return `jsonb_build_object('field', '${field}', 'from', ${from}, 'to', ${fieldSql(contract, field)})`;
}

function listSql(items: readonly string[]): string {
  return `jsonb_build_array(${items.join(', ')})`;
}

function columnOf({ columns }: History, field: string): string {
  return columns?.[field] ?? field;
}

function nullableColumns({ meta }: Table): Set<string> {
  const columns = Object.entries(meta.properties as Record<string, { nullable?: boolean }>);
  return new Set(columns.filter(([, { nullable }]) => nullable).map(([name]) => name));
}
