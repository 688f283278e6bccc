// Consumes the events of other services. Versions make every handler idempotent and independent of the order. A heartbeat
// depends on the order: it is applied only after the messages before it.
import { type EventName, eventData, parseEvent, type ReceivedEvent } from '@promopulse/shared/contracts/index';
import { queues } from '@promopulse/shared/contracts/queues';
import type { Database } from '@promopulse/shared/database/database';
import { type Consumer, type IncomingMessage, Unprocessable } from '@promopulse/shared/messaging/broker';
import {
  applyHeartbeat,
  applyPromotions,
  applyUsers,
  invalidate,
  type OwnerName,
  ownerNames,
  projectedPromotion,
  projectedUser,
} from './store.ts';

const queue = 'subscriptions.projections';
/** After this time assume that another replica got the message. */
const disposeAfterMs = 60_000;

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
        const owner = ownerNames.find((each) => each === event.data.service);
        if (!owner) return; // the relays of all services send heartbeats, this one's too
        await inFlight.whenIdle();
        await applyHeartbeat(database, owner, new Date(event.data.watermark));
        return;
      }
      inFlight.add(message.id);
      await apply(database, event);
      inFlight.remove(message.id);
    },
    onDeadLetter: async (message) => {
      for (const owner of ownersOf(message)) await invalidate(database, owner);
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
function ownersOf({ routingKey }: IncomingMessage): readonly OwnerName[] {
  if (routingKey === 'relay.heartbeat') return [];
  const owners = ownerNames.filter((owner) => `${routingKey.split('.')[0]}s` === owner);
  return owners.length > 0 ? owners : ownerNames;
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
      const timer = setTimeout(() => remove(id), disposeAfterMs).unref();
      pending.set(id, {
        settled: promise,
        settle: () => {
          clearTimeout(timer);
          resolve();
        },
      });
    },
    remove,
    /** Resolves when every message that is in flight now has been applied, dead-lettered or disposed of. */
    whenIdle: async (): Promise<void> => {
      await Promise.all([...pending.values()].map(({ settled }) => settled));
    },
  };
}
