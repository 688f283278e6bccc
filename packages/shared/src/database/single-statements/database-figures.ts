// How busy the connections of a database are, for its metrics.
import type pg from 'pg';
import type { PipelineFigures } from '../pipelined-connections.ts';
import type { LockWaiters } from './lock-waiters.ts';
import type { SingleStatements } from './single-statements.ts';

interface PoolFigures {
  /** Connections that somebody has taken, and those that nobody has. */
  used: number;
  idle: number;
  max: number;
  /** Requests for a connection that wait. */
  pending: number;
}

export interface DatabaseFigures {
  /** By name: `transactions`, and `direct` when DIRECT_DATABASE_URL leads past a pooler. */
  pools: Record<string, PoolFigures>;
  pipelines: Record<'reads' | 'writes', PipelineFigures>;
  /** `LockWaiters.waiting` */
  lockWaiters: number;
}

export function figuresOf(
  { pool, direct }: Record<'pool' | 'direct', pg.Pool>,
  single: SingleStatements,
  { waiting: lockWaiters }: LockWaiters,
): DatabaseFigures {
  const pools = { transactions: poolFigures(pool), ...(direct !== pool && { direct: poolFigures(direct) }) };
  return { pools, pipelines: single.figures(), lockWaiters };
}

function poolFigures({ totalCount, idleCount, waitingCount, options }: pg.Pool): PoolFigures {
  return { used: totalCount - idleCount, idle: idleCount, max: options.max, pending: waitingCount };
}
