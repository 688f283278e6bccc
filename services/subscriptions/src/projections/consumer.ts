// Consumes the events of other services. Versions make every handler idempotent and independent of the order. A heartbeat
// is not: it confirms all messages before it, so it is applied after them.
import { type EventName, eventData, parseEvent, type ReceivedEvent } from '@promopulse/shared/contracts/index';
import { queues } from '@promopulse/shared/contracts/queues';
import type { Database } from '@promopulse/shared/database/database';
import { type Consumer, type IncomingMessage, Unprocessable } from '@promopulse/shared/messaging/broker';
import {
  applyHeartbeat,
  applyPromotions,
  applyUsers,
  invalidate,
  projectedPromotion,
  projectedUser,
  type Source,
  sources,
} from './store.ts';

const queue = 'subscriptions.projections';
/** A message neither applied nor dead-lettered for this long was redelivered to another replica. */
const forgetAfterMs = 60_000;

/** The events that the queue is bound to. */
const used = {
  'promotion.created': projectedPromotion,
  'promotion.updated': projectedPromotion,
  'promotion.status_changed': projectedPromotion,
  'user.created': projectedUser,
  'user.deleted': projectedUser,
  'relay.heartbeat': eventData['relay.heartbeat'],
} satisfies Record<Extract<EventName, `${'promotion' | 'user' | 'relay'}.${string}`>, unknown>;
type ProjectedEvent = ReceivedEvent<typeof used>;

export function projectionConsumer(database: Database): Consumer {
  const inFlight = trackInFlight();
  return {
    queue,
    bindings: queues[queue],
    handle: async (message) => {
      const event = read(message);
      if (event.name === 'relay.heartbeat') {
        const source = sources.find((each) => each === event.data.service);
        if (!source) return; // the relays of all services send heartbeats, this one's too
        await inFlight.whenIdle();
        await applyHeartbeat(database, source, new Date(event.data.watermark));
        return;
      }
      inFlight.add(message.id);
      await apply(database, event);
      inFlight.remove(message.id);
    },
    onDeadLetter: async (message) => {
      for (const source of sourcesOf(message)) await invalidate(database, source);
      inFlight.remove(message.id);
    },
  };
}

async function apply(database: Database, event: Exclude<ProjectedEvent, { name: 'relay.heartbeat' }>): Promise<void> {
  switch (event.name) {
    case 'promotion.created':
    case 'promotion.updated':
    case 'promotion.status_changed':
      await applyPromotions(database, [event.data]);
      return;
    case 'user.created':
      await applyUsers(database, [event.data]);
      return;
    case 'user.deleted':
      await applyUsers(database, [{ ...event.data, deleted: true }]);
      return;
    default:
      throw new Unprocessable(`there is no handler for ${(event satisfies never as ProjectedEvent).name}`);
  }
}

function read(message: IncomingMessage): ProjectedEvent {
  try {
    return parseEvent(message.body, used);
  } catch (cause) {
    throw new Unprocessable('not an event of these services', { cause });
  }
}

/** The owner of a message, by its routing key; all owners when the routing key names none. */
function sourcesOf({ routingKey }: IncomingMessage): readonly Source[] {
  if (routingKey === 'relay.heartbeat') return [];
  const owner = sources.filter((source) => `${routingKey.split('.')[0]}s` === source);
  return owner.length > 0 ? owner : sources;
}

/** The ids of the messages that have been received and not applied yet. */
function trackInFlight() {
  const pending = new Map<string, { settled: Promise<void>; settle(): void }>();
  const remove = (id: string): void => {
    pending.get(id)?.settle();
    pending.delete(id);
  };
  return {
    add: (id: string): void => {
      if (pending.has(id)) return; // a redelivery
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(() => remove(id), forgetAfterMs).unref();
      pending.set(id, {
        settled: promise,
        settle: () => {
          clearTimeout(timer);
          resolve();
        },
      });
    },
    remove,
    /** Resolves when every message that is in flight now has been applied, dead-lettered or forgotten. */
    whenIdle: async (): Promise<void> => {
      await Promise.all([...pending.values()].map(({ settled }) => settled));
    },
  };
}
