// The messages of each session that have been received and not settled yet. A message is settled when it was applied,
// ignored or dead-lettered, or when its session has ended and the broker has it back. No clock settles it.
import type { IncomingMessage } from '@promopulse/shared/messaging/broker';

type Session = Pick<IncomingMessage, 'session' | 'signal'>;

export class InFlight {
  readonly #sessions = new Map<string, Set<PromiseWithResolvers<void>>>();

  /** @returns how to settle it */
  add(message: Session): () => void {
    const pending = this.#pendingOf(message);
    const entry = Promise.withResolvers<void>();
    pending.add(entry);
    return () => {
      pending.delete(entry);
      entry.resolve();
    };
  }

  /** Resolves when every message of the session that is in flight now is settled. */
  async whenIdle(message: Session): Promise<void> {
    await Promise.all([...this.#pendingOf(message)].map(({ promise }) => promise));
  }

  #pendingOf({ session, signal }: Session): Set<PromiseWithResolvers<void>> {
    const known = this.#sessions.get(session);
    if (known) return known;
    const pending = new Set<PromiseWithResolvers<void>>();
    this.#sessions.set(session, pending);
    const end = (): void => {
      this.#sessions.delete(session);
      for (const { resolve } of pending) resolve();
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
    return pending;
  }
}
