// Release 0.1.0 chooses by session advisory locks who leads a relay and who migrates. A replica of this release gives way
// to it while both run, as in an upgrade or when one is taken back. Any role can take an advisory lock, so only those
// that a session of this service's own role holds count.
import type { Statement } from '../prepared.ts';

/** Of the lock with the key `key`, an expression of type bigint. */
const isHeldSql = (key: string): string => `exists (
  select from pg_locks
  join pg_stat_activity as holder using (pid)
  join pg_stat_activity as own on own.pid = pg_backend_pid() and own.usesysid = holder.usesysid
  where locktype = 'advisory' and granted and database = own.datid and objsubid = 1
    and (classid::bigint, objid::bigint) = ((${key} >> 32) & 4294967295, ${key} & 4294967295))`;

/** The name of a lock, as 0.1.0 hashes it. */
export function oldReleaseLockName(schema: string, name: 'relay' | 'migrations'): string {
  return `promopulse.${schema}.${name}`;
}

/** $1: name of the lock. Takes it, unless another session has it. `free` is false while one of this role has it. */
export const takeOldReleaseLock = `
  with lock as (select hashtextextended($1, 0) as key)
  select pg_try_advisory_lock(key) or not ${isHeldSql('key')} as free from lock`;

/** $1: name of the lock. It takes nothing: behind a pooler a lock could outlive its holder. */
export const findOldReleaseLock: Statement = {
  name: 'old_release_lock',
  text: `with lock as (select hashtextextended($1, 0) as key) select ${isHeldSql('key')} as held from lock`,
};
