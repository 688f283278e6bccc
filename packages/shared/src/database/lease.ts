// Leases: at most one process of all replicas holds a lease (docs/decisions/0017-leases.md). A lease is a row of the
// service's own schema, so that no other role can take or block it. It is free when it has expired, when its holder has
// released it, or when the connection that it was taken on has ended. All times are those of the database's clock.
// A holder can be suspended and go on after another process has taken its lease. So a statement that only the holder may
// act on compares `holder`, which is random for each taking: a number would be set back together with the database.
import { randomUUID } from 'node:crypto';
import { defineEntity, p } from '@mikro-orm/postgresql';
import type { Connection, Database } from './database.ts';

/** How long a lease lasts without a renewal. Longer than an unanswered renewal, which fails after 3 s. */
export const leaseMs = 4_000;
const renewEveryMs = 1_000;

/** Part of every service's entities. */
export const Lease = defineEntity({
  name: 'Lease',
  tableName: 'leases',
  properties: {
    name: p.string().length(100).primary(),
    /** Names one taking of the lease. For the lease `relay` it is the `lead` of the events. */
    holder: p.uuid(),
    expires_at: p.datetime(),
    /** The connection that it was taken on, as in `pg_stat_activity`. A pid alone is given again. */
    backend_pid: p.integer(),
    backend_start: p.datetime(),
  },
});

const expirySql = (seconds: string): string => `clock_timestamp() + make_interval(secs => ${seconds})`;

/** A time far ahead is from before the database's clock was set back. */
const isExpiredSql = `(expires_at <= clock_timestamp() or expires_at > clock_timestamp() + interval '1 minute')`;

/** A role sees `backend_start` only of its own connections. The connection of another role counts as open. */
const isConnectedSql = `exists (
  select from pg_stat_activity as activity
  where activity.pid = backend_pid and coalesce(activity.backend_start = leases.backend_start, true))`;

const statements = {
  /**
   * $1: name, $2: holder, $3: seconds. Returns a row if the lease was free. It locks no row otherwise, so that the tries
   * do not hold up the renewals. The row must still be as it was seen, because `pg_stat_activity` may be older than the
   * row that a concurrent try has written.
   */
  take: {
    name: 'lease_take',
    text: `with seen as materialized (
             select holder, expires_at, ${isExpiredSql} or not ${isConnectedSql} as is_free from leases where name = $1)
           insert into leases as held (name, holder, expires_at, backend_pid, backend_start)
           select $1, $2, ${expirySql('$3')}, pid, backend_start from pg_stat_activity
           where pid = pg_backend_pid() and not exists (select from seen where not is_free)
           on conflict (name) do update set
             holder = excluded.holder, expires_at = excluded.expires_at,
             backend_pid = excluded.backend_pid, backend_start = excluded.backend_start
           where exists (select from seen where seen.holder = held.holder and seen.expires_at = held.expires_at)
           returning holder`,
  },
  /** $1: name, $2: holder, $3: seconds. Returns no row if another process holds the lease. */
  renew: {
    name: 'lease_renew',
    text: `update leases set expires_at = ${expirySql('$3')} where name = $1 and holder = $2 returning holder`,
  },
  /** $1: name, $2: holder. */
  release: {
    name: 'lease_release',
    text: 'update leases set expires_at = clock_timestamp() where name = $1 and holder = $2',
  },
};

/**
 * Tries to take a lease, on a connection of its own.
 * @returns undefined when another process holds it
 * @throws the database's error
 */
export async function tryLease(database: Database, name: string): Promise<HeldLease | undefined> {
  const connection = await database.connect();
  const holder = randomUUID();
  try {
    const taken = await connection.query(statements.take, [name, holder, leaseMs / 1000]);
    if (taken.length > 0) return new HeldLease(connection, name, holder);
    connection.release();
    return undefined;
  } catch (error) {
    connection.end();
    throw error;
  }
}

/**
 * States: held, from the taking on, and renewed each second; lost, after a renewal that failed or found another holder;
 * ended, after `release` or `end`.
 */
export class HeldLease {
  /** The holder may use it for its own statements. When it ends, the lease is free. */
  readonly connection: Connection;
  readonly holder: string;
  readonly #name: string;
  readonly #lost = new AbortController();
  readonly #renewals: NodeJS.Timeout;
  #isRenewing = false;

  constructor(connection: Connection, name: string, holder: string) {
    this.connection = connection;
    this.holder = holder;
    this.#name = name;
    this.#renewals = setInterval(() => void this.#renew(), renewEveryMs).unref();
  }

  /** Aborts when the lease is lost. Its reason is an Error. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Frees the lease, so that another process can take it at once. Never rejects. */
  async release(): Promise<void> {
    clearInterval(this.#renewals);
    // If it fails, the end of the connection frees the lease.
    await this.connection.query(statements.release, [this.#name, this.holder]).catch(() => undefined);
    this.connection.end();
  }

  /** Like `release`, but waits for nothing. The lease is free when the server has noticed the end of the connection. */
  end(): void {
    clearInterval(this.#renewals);
    this.connection.end();
  }

  async #renew(): Promise<void> {
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    try {
      const renewed = await this.connection.query(statements.renew, [this.#name, this.holder, leaseMs / 1000]);
      if (renewed.length === 0) this.#lose(new Error('another process has taken the lease'));
    } catch (error) {
      this.#lose(error);
    } finally {
      this.#isRenewing = false;
    }
  }

  #lose(reason: unknown): void {
    clearInterval(this.#renewals);
    this.#lost.abort(reason);
  }
}
