// Whether a row of a projection can be relied on (decision 0015), as SQL conditions for the statements of a service.
import type { ServiceName } from '../../contracts/services.ts';

/** A join that gives `source`: how far the projection of the owner can be relied on. */
export function joinSource(owner: ServiceName, source: string): string {
  return `left join projection_sources ${source} on ${source}.service = '${owner}'`;
}

interface RelianceNames {
  /** A row of the projection, such as `p`. */
  row: string;
  /** Of `joinSource`. */
  source: string;
  /** The parameter that holds the lease in seconds, such as `$3`. */
  lease: string;
}

/** Both are about a row that is there: where an outer join has none, they say nothing. */
export interface Reliance {
  /** The row can be relied on: its source is reconciled, or its owner was asked. Never null. */
  believed: string;
  /** What it holds was confirmed within the lease: by a heartbeat or by its owner. May be null. */
  fresh: string;
}

export function reliance({ row, source, lease }: RelianceNames): Reliance {
  /** A time within the lease. A time ahead by more than a second comes from a clock that is not believed. */
  const withinLease = (time: string) =>
    `${time} > now() - make_interval(secs => ${lease}) and ${time} < now() + interval '1 second'`;
  /** Neither an event nor a reading contradicts the row. */
  const undisputed = `${row}.doubted_at is null and ${row}.lost_at is null`;
  /** The owner was asked about the row within the lease, and after its source was last invalidated. */
  const verified = `(${withinLease(`${row}.verified_at`)} and ${row}.verified_at >= coalesce(${source}.invalidated_at, '-infinity'))`;
  return {
    believed: `coalesce(${undisputed} and (${source}.reconciled_at is not null or ${verified}), false)`,
    fresh: `(${undisputed} and (${verified}
      or ${source}.reconciled_at is not null and ${withinLease(`${source}.watermark`)}))`,
  };
}
