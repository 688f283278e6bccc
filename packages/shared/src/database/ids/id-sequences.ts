// The sequences of a service's schema: which of them give the ids that callers see, and how much of each is used.
import type { Database } from '../database.ts';
import type { Statement } from '../prepared.ts';

/** From this share of its range on, a sequence is reported. In percent. */
const reportedPercent = 80;

/** $1: the largest id. Callers see the ids of the sequences that end there, or below. Names are quoted already. */
export const callersSequences: Statement = {
  text: `${sequencesSql(`"limit" <= $1`)} order by 2`,
};

/** A sequence that a column owns. */
export interface IdSequence {
  sequence: string;
  table: string;
  column: string;
  /** The last id that the sequence may give and its column may hold. */
  limit: number;
}

/** Rows are of type `IdSequence`. */
function sequencesSql(condition: string): string {
  return `select * from (
      select seqrelid::regclass::text as sequence, tables.oid::regclass::text as table, quote_ident(attname) as column,
             least(seqmax, case atttypid when 'integer'::regtype then 2147483647
                                         when 'smallint'::regtype then 32767 else seqmax end)::float as "limit"
      from pg_sequence join pg_depend on objid = seqrelid and deptype in ('a', 'i')
          and classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass
        join pg_class as tables on tables.oid = refobjid
        join pg_attribute on attrelid = refobjid and attnum = refobjsubid
      where tables.relnamespace = current_schema()::regnamespace and tables.relname <> 'mikro_orm_migrations'
    ) as sequences where ${condition}`;
}

const nearlyUsed: Statement = {
  name: 'sequences_nearly_used',
  text: `select "table", floor(pg_sequence_last_value(sequence::regclass) / "limit" * 100)::int as percent
    from (${sequencesSql('true')}) as sequences
    where pg_sequence_last_value(sequence::regclass) >= ${reportedPercent / 100} * "limit" order by 1`,
};

export interface UsedIds {
  table: string;
  /** How much of its ids is given. */
  percent: number;
}

/** @returns the tables of which 80 % of the ids are given, or more */
export async function readUsedIds(database: Database): Promise<UsedIds[]> {
  return await database.run<UsedIds>(nearlyUsed, []);
}
