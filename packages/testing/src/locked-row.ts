// A service while another session holds the lock of one row: requests that wait for it, and strangers that do not.
import { setTimeout as sleep } from 'node:timers/promises';
import { withClient } from '@promopulse/shared/database/provision';
import type { ClientResponse } from './client.ts';
import type { TestService } from './service.ts';

type Request = (index: number) => Promise<ClientResponse<unknown>>;
interface Answer {
  status: number;
  retryAfter: string | null;
  /** Milliseconds since the first waiter was sent. */
  at: number;
}

interface LockedRow {
  /** SQL that takes the lock. Its transaction is rolled back. */
  lock: string;
  /** How long the lock is held, in milliseconds. Absent: until all requests are answered. */
  heldMs?: number;
  waiter: Request;
  strangers: readonly Request[];
}

/** Sends 20 waiters, and a little later 40 strangers of all kinds in turn. */
export async function requestWhileLocked(
  service: TestService,
  { lock, heldMs, waiter, strangers }: LockedRow,
): Promise<{ waiters: Answer[]; strangers: Answer[] }> {
  return await withClient(service.env.DATABASE_URL as string, async (holder) => {
    await holder.query('begin');
    await holder.query(lock);
    const start = performance.now();
    const send = async (request: Request, index: number): Promise<Answer> => {
      const { status, headers } = await request(index);
      return { status, retryAfter: headers.get('retry-after'), at: performance.now() - start };
    };
    const waiting = Promise.all(Array.from({ length: 20 }, (_, index) => send(waiter, index)));
    await sleep(30);
    const others = Promise.all(
      Array.from({ length: 40 }, (_, index) => send(strangers[index % strangers.length] as Request, index)),
    );
    if (heldMs !== undefined) await sleep(heldMs);
    else await Promise.allSettled([waiting, others]);
    await holder.query('rollback');
    return { waiters: await waiting, strangers: await others };
  });
}
