// The history of an entity: one row for each change, which is written with the change. Its version, time and fields are
// those of the entity; who asked, by which request and why, is the cause of the change.
import { p } from '@mikro-orm/postgresql';
import type { z } from 'zod';

/** The columns of a history beside the id of the entity, which comes before `id` in the primary key. */
export function historyColumns() {
  return {
    /** Grows with the changes of an entity, also where its version was set back. */
    id: p.bigint('number').primary().autoincrement(),
    version: p.integer(),
    at: p.datetime(3),
    /** Null: the caller is not known. */
    actor: p.string().length(150).nullable(),
    request_id: p.string().length(128).nullable(),
    reason: p.string().length(200).nullable(),
    /** A list of `Change`. */
    changes: p.json(),
  };
}

/** Which fields of an entity have a history, and where it is. */
export interface History {
  /** The table of the entity, with `id`, `version` and `updated_at`. Also the first part of its path. */
  table: string;
  historyTable: string;
  /** The column of the history that has the id of the entity. */
  idColumn: string;
  /** The fields as callers name them. */
  fields: readonly string[];
  /**
   * How the values are shown, field by field. Absent: the fields are personal, and the history has their names only.
   */
  contract?: z.ZodObject;
  /** The columns of fields that have other names than their columns. */
  columns?: Readonly<Record<string, string>>;
}

/** A field that a change has set. A personal field has neither `from` nor `to`. */
export interface Change {
  field: string;
  from?: string | null;
  to?: string | null;
}

/**
 * The fields with other values than before.
 * @param before and `after`: the fields as the history's contract shows them
 */
export function changesBetween(
  { fields }: History,
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): Change[] {
  return fields
    .filter((field) => before[field] !== after[field])
    .map((field) => ({ field, from: before[field] as string | null, to: after[field] as string | null }));
}
