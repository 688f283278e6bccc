// The messages of each session that have been received and not settled yet. A message is settled when it was applied,
// ignored or dead-lettered, or when its session has ended and the broker has it back. No clock settles it.
import type { IncomingMessage } from '../../messaging/broker.ts';

type Session = Pick<IncomingMessage, 'session' | 'signal'>;

/** A received message. */
export interface InFlightMessage {
  settle(): void;
  /** Resolves when every message of the session that was received before is settled. */
  whenFirst(): Promise<void>;
}

export class InFlight {
  readonly #sessions = new Map<string, SessionInFlight>();

  /** Call it for each message, in the order of the queue. */
  add({ session, signal }: Session): InFlightMessage {
    let inFlight = this.#sessions.get(session);
    if (!inFlight) {
      inFlight = new SessionInFlight();
      this.#sessions.set(session, inFlight);
      const end = (): void => {
        this.#sessions.get(session)?.end();
        this.#sessions.delete(session);
      };
      if (signal.aborted) end();
      else signal.addEventListener('abort', end, { once: true });
    }
    return inFlight.add();
  }
}

/** Hundreds of messages are in flight, and few wait for others: to settle one costs the same for any number. */
class SessionInFlight {
  #received = 0;
  /** The numbers of the messages in flight, in their order. */
  readonly #pending = new Set<number>();
  readonly #waiting = new Map<() => void, number>();

  add(): InFlightMessage {
    this.#received += 1;
    const number = this.#received;
    this.#pending.add(number);
    return {
      settle: () => {
        this.#pending.delete(number);
        this.#notify();
      },
      whenFirst: () =>
        new Promise((resolve) => {
          this.#waiting.set(resolve, number);
          this.#notify();
        }),
    };
  }

  end(): void {
    this.#pending.clear();
    this.#notify();
  }

  #notify(): void {
    const [first = Number.POSITIVE_INFINITY] = this.#pending;
    for (const [resolve, number] of this.#waiting) {
      if (number > first) continue;
      this.#waiting.delete(resolve);
      resolve();
    }
  }
}
