// The client of the load: sends numbered requests, records each one, and knows which are still in flight.
import type { Attempt } from './history.ts';
import { type ClientRequest, send } from './send.ts';

interface LoadRequest extends Omit<ClientRequest, 'requestId' | 'body'> {
  body?: Attempt['body'];
  /** Sent in place of the body's JSON. */
  rawBody?: string | undefined;
}

/** Open until `stop`; then stopping while requests are in flight, and stopped. */
export class LoadClient {
  readonly #url: string;
  readonly #history: Attempt[] = [];
  readonly #inFlight = new Set<Promise<unknown>>();
  #count = 0;
  #isStopped = false;

  constructor(url: string) {
    this.#url = url;
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

  async send({ kind, method, path, body, rawBody }: LoadRequest): Promise<Attempt> {
    this.#count += 1;
    const attempt = await send(this.#url, { requestId: `chaos-${this.#count}`, kind, method, path, body }, rawBody);
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
