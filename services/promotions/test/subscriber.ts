// A consumer of the events of promotions, as fast as a test needs it.
import { parseEvent, type ReceivedEvent } from '@promopulse/shared/contracts/index';
import { queues } from '@promopulse/shared/contracts/queues';
import type { Broker } from '@promopulse/shared/messaging/broker';
import { connectRabbit } from '@promopulse/shared/messaging/rabbitmq/broker';
import { brokerOptions } from '@promopulse/shared/service/service-broker';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl } from '@promopulse/testing/servers';

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
  const broker = connectRabbit(
    { url: amqpUrl() },
    brokerOptions(prefix, createLogger({ service: 'test', level: 'silent' })),
  );
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
