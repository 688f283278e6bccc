// What causes an alert in a run.
import type { Load } from '../chaos/load.ts';
import type { SqlClient } from '../chaos/observed-promotion.ts';
import type { Stack } from '../chaos/stack.ts';

export interface Scene {
  stack: Stack;
  load: Load;
  /** The administrator of the services' database. */
  sql: SqlClient;
  /** Prometheus scrapes no process any more, or all of them again. */
  scrape(targets: 'none' | 'all'): void;
}

/** Ends the cause. */
export type Undo = () => unknown;

/** @returns what ends the cause; nothing when it ends by itself */
export type Cause = (scene: Scene) => Promise<Undo | undefined> | Undo;

/** Calls `send` this often at a time, again and again, until it is ended. */
export function repeat(parallel: number, send: () => Promise<unknown>): Undo {
  let isRunning = true;
  const loops = Array.from({ length: parallel }, async () => {
    while (isRunning) await send().catch(() => undefined);
  });
  return async () => {
    isRunning = false;
    await Promise.all(loops);
  };
}

/** A transaction of the administrator that stays open until it is ended. */
export async function holdOpen({ sql }: Scene, statement: string): Promise<Undo> {
  await sql.query('begin');
  await sql.query(statement);
  return () => sql.query('rollback');
}
