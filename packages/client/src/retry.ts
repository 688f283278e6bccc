// Repeats the requests that the server asks to repeat. The promise: a request is sent again only when that cannot make a
// change twice. Without an `Idempotency-Key`, its answer must say that nothing was changed: 503 or 429 with `Retry-After`.
// A lost connection, a time-out and `outcome_unknown` say no such thing, so they are the caller's. With a key, the server
// makes the change once, so these are repeated too (docs/errors.md, "What may be repeated").

export interface RetryOptions {
  /** Maximum number of times that a request is sent. Default 8. */
  attempts?: number;
  /** No attempt begins later than this after the first, in milliseconds. Default 60,000. */
  maxElapsedMs?: number;
  /** Maximum of the random time that is added to `Retry-After`, in milliseconds. Default 8,000. */
  maxJitterMs?: number;
  /** Sends one request. Default: the global `fetch`. */
  fetch?: (request: Request) => Promise<Response>;
}

const statusesToRepeat: readonly number[] = [429, 503];
/** With a key: nobody knows the outcome, or a proxy has none. */
const statusesToRepeatWithKey: readonly number[] = [...statusesToRepeat, 502, 504];
/** With a key: the server is still working on the request before. */
const inProgress = 'idempotency_in_progress';
const outcomeUnknown = 'outcome_unknown';

/** The header by which a server knows that two requests are one. */
export const idempotencyKeyHeader = 'Idempotency-Key';

/** The first jitter is up to half a second. It doubles with each attempt, so that many callers do not come back at once. */
const firstJitterMs = 500;

/**
 * @returns a `fetch` that waits as long as `Retry-After` says, and a random time more, and then sends the request again. It
 * returns the last answer, or rejects with the last error, when the attempts or the time are used up. When the signal of
 * the request aborts, it rejects with the reason of the signal, also while it waits.
 */
export function retryingFetch(options: RetryOptions = {}): (request: Request) => Promise<Response> {
  const { attempts = 8, maxElapsedMs = 60_000, maxJitterMs = 8_000, fetch = globalThis.fetch } = options;
  return async (request) => {
    const deadline = performance.now() + maxElapsedMs;
    const hasKey = request.headers.has(idempotencyKeyHeader);
    for (let attempt = 1; ; attempt += 1) {
      if (attempt >= attempts) return await fetch(request);
      const answer = fetch(request.clone()); // sending a request uses up its body
      const [response] = await Promise.allSettled([answer]);
      const retryAfterMs =
        response.status === 'fulfilled' ? await readWait(response.value, hasKey) : waitAfterError(request, hasKey);
      if (retryAfterMs === undefined) return await answer;
      const waitMs = retryAfterMs + Math.random() * Math.min(firstJitterMs * 2 ** (attempt - 1), maxJitterMs);
      if (performance.now() + waitMs > deadline) return await answer;
      if (response.status === 'fulfilled') await response.value.body?.cancel();
      await sleep(waitMs, request.signal);
    }
  };
}

/** Of a request without an answer: the connection was not made, or was lost. */
function waitAfterError({ signal }: Request, hasKey: boolean): number | undefined {
  return hasKey && !signal.aborted ? 0 : undefined;
}

/** @returns how long to wait before the request may be sent again, in milliseconds; undefined when it may not */
async function readWait(response: Response, hasKey: boolean): Promise<number | undefined> {
  const { status } = response;
  const retryAfterMs = readRetryAfter(response);
  if (hasKey) {
    const mayRepeat =
      statusesToRepeatWithKey.includes(status) || (status === 409 && (await readCode(response)) === inProgress);
    return mayRepeat ? (retryAfterMs ?? 0) : undefined;
  }
  if (retryAfterMs === undefined || !statusesToRepeat.includes(status)) return undefined;
  // The gateway sends no Retry-After with this code, but a proxy in front of it may add one to every 503.
  return (await readCode(response)) === outcomeUnknown ? undefined : retryAfterMs;
}

/** @returns milliseconds; undefined when there is no Retry-After, or it is no time */
function readRetryAfter({ headers }: Response): number | undefined {
  const value = headers.get('retry-after')?.trim();
  if (!value) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : untilDate(value, headers.get('date'));
  return Number.isNaN(ms) ? undefined : ms;
}

/** The form of a date in HTTP. `Date.parse` would also read `-1`. */
const httpDate = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/;

/** @param now the server's time, because the clock of this machine may differ from it */
function untilDate(date: string, now: string | null): number {
  if (!httpDate.test(date)) return Number.NaN;
  return Math.max(0, Date.parse(date) - (now ? Date.parse(now) : Date.now()));
}

/** @returns the code of a problem document; undefined for any other response */
async function readCode(response: Response): Promise<unknown> {
  if (!response.headers.get('content-type')?.startsWith('application/problem+json')) return undefined;
  const problem = (await response
    .clone()
    .json()
    .catch(() => undefined)) as { code?: unknown } | undefined;
  return problem?.code;
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  let wake = (): void => undefined;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    wake = () => {
      clearTimeout(timer);
      resolve();
    };
    signal.addEventListener('abort', wake, { once: true });
  });
  signal.removeEventListener('abort', wake);
  signal.throwIfAborted();
}
