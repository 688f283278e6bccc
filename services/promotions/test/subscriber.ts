// Test frame: what listens to promotions in the mesh, as fast as it is told to.
import type { Broker } from '@promopulse/shared/broker';
import { parseEvent, queues, type ReceivedEvent } from '@promopulse/shared/events';
import { createLogger } from '@promopulse/shared/logger';
import { connectRabbit } from '@promopulse/shared/rabbit-broker';
import { brokerOptions } from '@promopulse/shared/service';
import { amqpUrl, eventually } from '@promopulse/shared/testing';

interface Arrival {
  body: string;
  routingKey: string;
  event: ReceivedEvent;
}

export interface Subscriber {
  /** Waits for as many events of one promotion; heartbeats are left out. */
  arrivals(promotion: { id: number }, count: number): Promise<Arrival[]>;
  broker: Broker;
}

export function subscribe(
  prefix: string,
  apply: (event: ReceivedEvent) => Promise<unknown> = async () => {},
): Subscriber {
  const queue = 'subscriptions.projections';
  const seen: Arrival[] = [];
  const broker = connectRabbit(amqpUrl(), brokerOptions(prefix, createLogger({ service: 'test', level: 'silent' })));
  broker.consume({
    queue,
    bindings: queues[queue],
    handle: async ({ body, routingKey }) => {
      const event = parseEvent(body);
      await apply(event);
      seen.push({ body, routingKey, event });
    },
  });
  return {
    broker,
    arrivals: ({ id }, count) =>
      eventually(
        () => {
          const found = seen.filter(({ event }) => event.envelope.subject === String(id));
          if (found.length < count) throw new Error(`only ${found.length} of ${count} events have arrived`);
          return found;
        },
        { timeoutMs: 20_000 },
      ),
  };
}
