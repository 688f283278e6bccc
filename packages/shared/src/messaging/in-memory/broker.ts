// The mesh's transport inside one process, for `npm start`. The promise: `confirmed` means applied by every queue's
// consumers or set aside on disk, so that an outbox that marks only confirmed rows loses nothing to a kill.
// All services of the process share one hub; each has its own Broker from it, to close on its own.
import { settleWithin } from '../../backoff.ts';
import { matchesTopic } from '../../contracts/queues.ts';
import type { Broker, BrokerOptions, PublishOutcome } from '../broker.ts';
import { openDeadLetterFiles } from './dead-letters.ts';
import { createMemoryQueue, type Enqueued, type MemoryQueue } from './queue.ts';

export interface MemoryHub {
  /** What `connectRabbit` is to RabbitMQ. A hub is one mesh, so `prefix` has nothing to keep apart here. */
  connect(options: BrokerOptions): Broker;
}

/** Dead letters are files in `deadLetterDir` (file-dead-letters.ts); nothing runs while no consumer is connected. */
export function createMemoryHub({ deadLetterDir }: { deadLetterDir: string }): MemoryHub {
  const letters = openDeadLetterFiles(deadLetterDir);
  const queues = new Map<string, MemoryQueue>();
  const listeners = new Map<string, (messageId: string) => void>();
  let brokers = 0;
  let stopWatching: (() => Promise<void>) | undefined;

  function queueNamed(name: string): MemoryQueue {
    const known = queues.get(name);
    if (known) return known;
    const queue = createMemoryQueue({
      sendReply: (replyTo, messageId) => listeners.get(replyTo)?.(messageId),
      deadLetter: ({ id, routingKey, body }, reason, attempts) =>
        letters.store({ id, queue: name, routingKey, reason, attempts, failedAt: new Date().toISOString(), body }),
    });
    queues.set(name, queue);
    return queue;
  }

  /** Letters an operator wants handled again, also those asked for while nothing was running. */
  function watchReplays({ log }: BrokerOptions): void {
    stopWatching ??= letters.watch(log, ({ queue, id, routingKey, body }) => {
      const offer = queues.get(queue)?.enqueue({ id, routingKey, body });
      return offer ? offer.accepted : Promise.resolve(false);
    });
  }

  async function unwatchReplays(): Promise<void> {
    if ([...queues.values()].some((queue) => queue.hasConsumers())) return;
    const stop = stopWatching;
    stopWatching = undefined;
    await stop?.();
  }

  function connect(options: BrokerOptions): Broker {
    const { log, retry, confirmTimeoutMs = 5_000 } = options;
    brokers += 1;
    const address = `memory.${brokers}`;
    const replyListeners: ((messageId: string) => void)[] = [];
    const leaves: ((timeoutMs: number) => Promise<void>)[] = [];
    const publishing = new Set<Promise<unknown>>();
    const cuts = new Set<AbortController>();
    let closed: Promise<void> | undefined;
    listeners.set(address, (messageId) => {
      for (const listener of replyListeners) queueMicrotask(() => listener(messageId));
    });

    const publish: Broker['publish'] = async (messages) => {
      const outcomes = messages.map((): PublishOutcome => 'failed');
      if (closed) return outcomes;
      const offers: Enqueued[] = [];
      const all = messages.map(async ({ id, routingKey, body, mandatory, replyTo }, index) => {
        const routed = [...queues.values()].filter((queue) =>
          queue.isBoundTo((pattern) => matchesTopic(pattern, routingKey)),
        );
        const mine = routed
          .filter((queue) => !queue.wasAcceptedLate(id))
          .map((queue) => queue.enqueue({ id, routingKey, body }, replyTo));
        offers.push(...mine);
        const taken = await Promise.all(mine.map((offer) => offer.accepted));
        if (!taken.every(Boolean)) return;
        outcomes[index] = mandatory && routed.length === 0 ? 'unroutable' : 'confirmed';
      });
      const cut = new AbortController();
      cuts.add(cut);
      await settleWithin(confirmTimeoutMs, Promise.all(all), cut);
      cuts.delete(cut);
      for (const offer of offers) offer.abort();
      return [...outcomes]; // what comes later must not change the answer
    };

    async function close(timeoutMs: number): Promise<void> {
      const deadline = performance.now() + timeoutMs;
      await Promise.all(leaves.map((leave) => leave(timeoutMs)));
      await settleWithin(Math.max(0, deadline - performance.now()), Promise.all(publishing));
      for (const cut of cuts) cut.abort();
      listeners.delete(address);
      await unwatchReplays();
    }

    return {
      publish: (messages) => {
        const work = publish(messages).finally(() => publishing.delete(work));
        publishing.add(work);
        return work;
      },
      consume: (consumer) => {
        if (closed) return;
        leaves.push(queueNamed(consumer.queue).subscribe({ consumer, retry, log }));
        watchReplays(options);
      },
      replyAddress: () => (closed ? undefined : address),
      onReply: (listener) => void replyListeners.push(listener),
      isConnected: () => !closed,
      close: (timeoutMs = 5_000) => {
        closed ??= close(timeoutMs);
        return closed;
      },
    };
  }

  return { connect };
}
