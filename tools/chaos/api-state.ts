// The state that only the API shows: decrypted contact data, and the totals of lists.
import { setTimeout as sleep } from 'node:timers/promises';
import type { DatabaseState } from './database-state.ts';
import type { Stack } from './stack.ts';

export interface ApiUser {
  id: number;
  email: string;
  phone?: string;
}

export interface ApiState {
  users: ApiUser[];
  /** For each promotion the totals of `GET /subscriptions`: all subscriptions, and the active ones. */
  totals: { promotion_id: number; all: number; active: number }[];
}

const parallelRequests = 8;
const retryTimeoutMs = 30_000;

/**
 * Call it once the services are quiet. A response other than 200 is requested again, for up to 30 s.
 * @throws Error when a request still fails then
 */
export async function readApiState(
  { url, credential }: Pick<Stack, 'url' | 'credential'>,
  { users, promotions }: DatabaseState,
): Promise<ApiState> {
  const headers: Record<string, string> = credential ? { authorization: `Bearer ${credential}` } : {};
  const get = <Body>(path: string): Promise<Body> => getUntilAnswered(`${url}${path}`, headers);
  const totalOf = async (query: string): Promise<number> =>
    (await get<{ total: number }>(`/subscriptions?limit=1&${query}`)).total;
  return {
    users: await mapInParallel(users, ({ id }) => get<ApiUser>(`/users/${id}`)),
    totals: await mapInParallel(promotions, async ({ id }) => ({
      promotion_id: id,
      all: await totalOf(`promotion_id=${id}`),
      active: await totalOf(`promotion_id=${id}&is_active=true`),
    })),
  };
}

async function mapInParallel<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const remaining = items.entries();
  const results: Result[] = [];
  const worker = async (): Promise<void> => {
    for (const [index, item] of remaining) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: parallelRequests }, worker));
  return results;
}

async function getUntilAnswered<Body>(url: string, headers: Record<string, string>): Promise<Body> {
  for (const deadline = Date.now() + retryTimeoutMs; ; ) {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(10_000) });
    const body = (await response.json()) as Body;
    if (response.status === 200) return body;
    if (Date.now() > deadline) throw new Error(`${response.status} from ${url} although the services are quiet`);
    await sleep(500);
  }
}
