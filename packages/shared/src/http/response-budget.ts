// How many bytes of responses may wait in memory for clients that read slowly or not at all.
import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { overloaded } from '../errors.ts';

const MiB = 1_048_576;

export const responseConfig = {
  /** Maximum number of bytes of responses that clients have not taken yet, in this process. */
  MAX_RESPONSE_BYTES_IN_FLIGHT: z.coerce
    .number()
    .int()
    .min(4 * MiB)
    .max(1_024 * MiB)
    .default(32 * MiB),
  /** For a client to take a response, in milliseconds. Then its connection is closed. */
  RESPONSE_TIMEOUT_MS: z.coerce.number().int().min(1_000).max(600_000).default(30_000),
};

/** Smaller responses are not counted. The system's buffer of a connection takes them at once. */
const minCountedBytes = 8_192;
/** Larger responses get three quarters of the budget, so that they do not keep ordinary ones out. */
const maxOrdinaryBytes = 65_536;
const shareOfLarge = 0.75;
/** A client that has not taken its response for this long loses it when the budget is needed for others. */
const slowMs = 2_000;
const sweepEveryMs = 1_000;

interface Waiting {
  bytes: number;
  /** `performance.now()` when it was sent. */
  sentAt: number;
}

/** Counts each response from the moment that it is sent until the system has taken all of it, or the client has gone. */
export class ResponseBudget {
  readonly #maxBytes: number;
  readonly #timeoutMs: number;
  /** The oldest first. */
  readonly #waiting = new Map<ServerResponse, Waiting>();
  #bytes = 0;
  #sweep: NodeJS.Timeout | undefined;

  constructor(settings: z.infer<z.ZodObject<typeof responseConfig>>) {
    this.#maxBytes = settings.MAX_RESPONSE_BYTES_IN_FLIGHT;
    this.#timeoutMs = settings.RESPONSE_TIMEOUT_MS;
  }

  /** Bytes that wait, and how many may. */
  figures(): { bytes: number; maxBytes: number } {
    return { bytes: this.#bytes, maxBytes: this.#maxBytes };
  }

  /** For a request whose response may be large, before its work. @throws overloaded when there is no room for any */
  checkRoomForLarge(): void {
    this.#ensureRoom(maxOrdinaryBytes + 1);
  }

  /** Must be called before the response is sent. @throws overloaded when there is no room for it */
  add(response: ServerResponse, bytes: number): void {
    if (bytes < minCountedBytes) return;
    this.#ensureRoom(bytes);
    this.#bytes += bytes;
    this.#waiting.set(response, { bytes, sentAt: performance.now() });
    response.once('close', () => this.#remove(response));
    this.#sweep ??= setInterval(() => this.#cutLate(), sweepEveryMs).unref();
  }

  #ensureRoom(bytes: number): void {
    const maxBytes = bytes > maxOrdinaryBytes ? this.#maxBytes * shareOfLarge : this.#maxBytes;
    if (this.#bytes + bytes <= maxBytes) return;
    const slowSince = performance.now() - slowMs;
    for (const [response, { sentAt }] of this.#waiting) {
      if (sentAt > slowSince) break;
      this.#cut(response);
      if (this.#bytes + bytes <= maxBytes) return;
    }
    throw overloaded('response_bytes');
  }

  #cutLate(): void {
    const lateSince = performance.now() - this.#timeoutMs;
    for (const [response, { sentAt }] of this.#waiting) {
      if (sentAt > lateSince) break;
      this.#cut(response);
    }
    if (this.#waiting.size > 0) return;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }

  #cut(response: ServerResponse): void {
    this.#remove(response);
    response.req.socket.destroy(); // a pipelined response has no socket of its own yet
  }

  #remove(response: ServerResponse): void {
    this.#bytes -= this.#waiting.get(response)?.bytes ?? 0;
    this.#waiting.delete(response);
  }
}
