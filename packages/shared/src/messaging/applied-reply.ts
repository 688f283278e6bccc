// Read your own writes. The contract: a reply says that a consumer has applied a message. A status change is answered
// after the subscriptions service has applied its event, so that the next subscribe uses the new status. The consumer
// replies through AMQP's own replyTo and correlationId. The change is already durable, so a missing reply loses
// nothing.
import { randomUUID } from 'node:crypto';
import type { QueueName } from '../contracts/queues.ts';
import type { Broker } from './broker.ts';

/** `applied`: the consumer has applied the event. `pending`: no reply yet; the broker will still deliver the event. */
type AppliedOutcome = 'applied' | 'pending';

export interface AppliedReply {
  /** Id for the event that the reply is about. */
  eventId: string;
  /** Reply address for the event; undefined while there is no connection to the broker. */
  replyTo: string | undefined;
  /**
   * Resolves when the reply arrives or `boundMs` has passed. Resolves immediately if there is no connection. Never
   * rejects. Call it once.
   */
  wait(): Promise<AppliedOutcome>;
  /** Stops listening. For a caller that does not call `wait` because no event was recorded. */
  dispose(): void;
}

/**
 * @param queue replies of other queues do not count
 * @param boundMs longest wait for a reply, in milliseconds
 * @returns a function that starts to listen for the reply to one new event
 */
export function createAppliedReplies(broker: Broker, queue: QueueName, boundMs: number): () => AppliedReply {
  const waiting = new Map<string, () => void>();
  broker.onReply((eventId, repliedBy) => {
    if (repliedBy === queue) waiting.get(eventId)?.();
  });

  return () => {
    const eventId = randomUUID();
    const replyTo = broker.replyAddress();
    // Listening starts before the commit, because the reply can arrive before the transaction returns.
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
