// One request to the internal listener of an owner.
import { z } from 'zod';
import { sleep } from '../../backoff.ts';
import type { Cause } from '../../contracts/cause.ts';
import type { ServiceName } from '../../contracts/services.ts';
import { isConnectionError } from '../../errors.ts';
import type { OnClientAnswer } from '../../telemetry/request-durations.ts';

const retryEveryMs = 50;

/** The request for which an owner is asked: its id and its trace go on to the owner. */
export type Origin = Pick<Cause, 'requestId' | 'traceparent'>;

interface OwnerEndpoint {
  owner: ServiceName;
  url: string;
  onAnswer: OnClientAnswer | undefined;
}

/** An owner that cannot be reached, as during its restart, is tried again until `signal` aborts: it is only read. */
export async function requestOwner(
  endpoint: OwnerEndpoint,
  path: string,
  { requestId, traceparent }: Origin,
  signal: AbortSignal,
): Promise<Response> {
  const url = `${endpoint.url.replace(/\/$/, '')}/internal/${endpoint.owner}${path}`;
  const headers = { 'x-request-id': requestId, ...(traceparent !== undefined && { traceparent }) };
  for (;;) {
    const startedAt = performance.now();
    try {
      const response = await fetch(url, { headers, redirect: 'error', signal });
      report(endpoint, startedAt, response.status);
      return response;
    } catch (error) {
      report(endpoint, startedAt, undefined, error);
      if (!isConnectionError((error as Error).cause)) throw error;
      await sleep(retryEveryMs, signal);
      if (signal.aborted) throw error;
    }
  }
}

function report(
  { owner, onAnswer }: OwnerEndpoint,
  startedAt: number,
  status: number | undefined,
  error?: unknown,
): void {
  const { name } = Object(error) as { name?: string };
  const reason = name === 'TimeoutError' ? 'timeout' : name === 'AbortError' ? 'aborted' : 'unavailable';
  const seconds = (performance.now() - startedAt) / 1_000;
  const kind = status === undefined ? reason : '';
  onAnswer?.({ upstream: owner, method: 'GET', status, error: kind, seconds });
}

export async function readJson(owner: ServiceName, response: Response): Promise<unknown> {
  if (!response.ok) {
    // The log shows the code of an error, and no message.
    throw Object.assign(new Error(`${owner} answered ${response.status}`), { code: `HTTP_${response.status}` });
  }
  return await response.json();
}

/**
 * Whether a 404 is the owner's own "there is no such row": a problem document with the code of its route. The page of a
 * load balancer, of another program or of a release without the route (`no_such_path`) says nothing about the row.
 */
export async function isOwnNotFound(response: Response): Promise<boolean> {
  if (!/^application\/problem\+json\b/.test(response.headers.get('content-type') ?? '')) return false;
  const problem: unknown = await response.json().catch(() => undefined);
  return z.object({ status: z.literal(404), code: z.literal('not_found') }).safeParse(problem).success;
}
