// The client of the load: sends numbered requests, records each one, and knows which are still in flight. Half of the writes
// carry an `Idempotency-Key`. Such a write is sent again, with the same key, while it has no answer.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../local/random.ts';
import { type Attempt, isInProgress, isUnanswered, isWrite } from './history.ts';
import { type ClientRequest, send } from './send.ts';

const shareWithKey = 0.5;
const maxRetries = 4;
const retryAfterMs = 500;

interface LoadClientOptions {
  url: string;
  random: Random;
  /** An API key. */
  credential?: string | undefined;
  /** Whether half of the writes carry a key. Default true. */
  retries?: boolean;
  /** Milliseconds of each request. Default: those of `send`. */
  timeoutMs?: number;
}

interface LoadRequest extends Omit<ClientRequest, 'requestId' | 'body' | 'key'> {
  body?: Attempt['body'];
  /** Sent in place of the body's JSON. */
  rawBody?: string | undefined;
}

/** Open until `stop`; then stopping while requests are in flight, and stopped. */
export class LoadClient {
  readonly #options: LoadClientOptions;
  readonly #history: Attempt[] = [];
  readonly #inFlight = new Set<Promise<unknown>>();
  #count = 0;
  #isStopped = false;

  constructor(options: LoadClientOptions) {
    this.#options = options;
  }

  get history(): readonly Attempt[] {
    return this.#history;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** How many operations are in flight; one operation may send several requests. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** The number of the next request, unique within the run. */
  get nextNumber(): number {
    return this.#count + 1;
  }

  /** @returns the last attempt */
  async send(request: LoadRequest): Promise<Attempt> {
    const { random, retries: mayRetry = true } = this.#options;
    const hasKey = mayRetry && isWrite(request) && random.next() < shareWithKey;
    const key = hasKey ? `chaos-key-${this.nextNumber}` : undefined;
    let attempt = await this.#sendOnce(request, key);
    for (
      let retries = 0;
      key && retries < maxRetries && (isUnanswered(attempt) || isInProgress(attempt));
      retries += 1
    ) {
      await sleep(retryAfterMs);
      attempt = await this.#sendOnce(request, key);
    }
    return attempt;
  }

  async #sendOnce({ rawBody, ...request }: LoadRequest, key: string | undefined): Promise<Attempt> {
    this.#count += 1;
    const { url, credential, timeoutMs } = this.#options;
    const numbered = { requestId: `chaos-${this.#count}`, body: undefined, ...request, key };
    const attempt = await send(url, numbered, { rawBody, credential, timeoutMs });
    this.#history.push(attempt);
    return attempt;
  }

  /** Counts an operation as in flight until it settles. */
  track(operation: Promise<unknown>): void {
    const tracked = operation.finally(() => this.#inFlight.delete(tracked));
    this.#inFlight.add(tracked);
  }

  /** Waits for what is in flight. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    while (this.#inFlight.size > 0) await Promise.all(this.#inFlight);
  }
}
