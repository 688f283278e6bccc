// Read your own writes: whoever activated or ended a promotion gets the answer once the subscriptions service has
// applied the change, so that a subscribe sent next meets the new status. The consumer tells this process by AMQP's
// own replyTo and correlationId. It is a wait, not a condition: the change is durable before it begins.
import { randomUUID } from 'node:crypto';
import type { Broker } from './broker.ts';

/** `applied`: the next subscribe meets the new status. `pending`: it will, once the broker has delivered the event. */
type AppliedOutcome = 'applied' | 'pending';

export interface AppliedReply {
  eventId: string;
  replyTo: string | undefined;
  /** Settles when the event was applied or after the bound; call once. */
  wait(): Promise<AppliedOutcome>;
  /** When there was nothing to wait for after all. */
  dispose(): void;
}

/** @param boundMs longest wait in milliseconds */
export function createAppliedReplies(broker: Broker, boundMs: number): () => AppliedReply {
  const waiting = new Map<string, () => void>();
  broker.onReply((eventId) => waiting.get(eventId)?.());

  return () => {
    const eventId = randomUUID();
    const replyTo = broker.replyAddress();
    // Listening starts before the commit: the reply may be faster than the transaction's return.
    const applied = new Promise<AppliedOutcome>((resolve) => waiting.set(eventId, () => resolve('applied')));
    const dispose = (): void => void waiting.delete(eventId);
    const wait = async (): Promise<AppliedOutcome> => {
      let timer: NodeJS.Timeout | undefined;
      const bound = new Promise<AppliedOutcome>((resolve) => {
        timer = setTimeout(resolve, replyTo ? boundMs : 0, 'pending');
      });
      try {
        return await Promise.race([applied, bound]);
      } finally {
        clearTimeout(timer);
        dispose();
      }
    };
    return { eventId, replyTo, wait, dispose };
  };
}
