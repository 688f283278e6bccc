// What this service does with its neighbours' events. Every handler bears repetition and reordering (versions); what
// needs care is the heartbeat, which vouches for everything sent before it.
import { parseEvent, type ReceivedEvent } from '@promopulse/shared/contracts/index';
import { queues } from '@promopulse/shared/contracts/queues';
import { type Consumer, type IncomingMessage, Unprocessable } from '@promopulse/shared/messaging/broker';
import { type Projections, type Source, sources } from './store.ts';

const queue = 'subscriptions.projections';
/** A message that has neither been applied nor set aside for this long was handed to another replica. */
const forgetAfterMs = 60_000;

export function projectionConsumer(projections: Projections): Consumer {
  const unapplied = trackUnapplied();

  async function apply(event: Exclude<ReceivedEvent, { name: 'relay.heartbeat' }>): Promise<void> {
    switch (event.name) {
      case 'promotion.created':
      case 'promotion.updated':
      case 'promotion.status_changed':
        await projections.applyPromotions([event.data]);
        return;
      case 'user.created':
        await projections.applyUsers([event.data]);
        return;
      case 'user.deleted':
        await projections.applyUsers([{ ...event.data, deleted: true }]);
        return;
      case 'subscription.created': // our own; the queue is not bound to them
      case 'subscription.deactivated':
        return;
      default:
        throw new Unprocessable(`nothing is done with ${(event satisfies never as ReceivedEvent).name}`);
    }
  }

  return {
    queue,
    bindings: queues[queue],
    handle: async (message) => {
      const event = read(message);
      if (event.name === 'relay.heartbeat') {
        const source = sources.find((each) => each === event.data.service);
        if (!source) return; // every service's relay beats, this one's own too
        await unapplied.settledBefore();
        await projections.applyHeartbeat(source, new Date(event.data.watermark));
        return;
      }
      unapplied.add(message.id);
      await apply(event);
      unapplied.remove(message.id);
    },
    onDeadLetter: async (message) => {
      for (const source of sourcesOf(message)) await projections.invalidate(source);
      unapplied.remove(message.id);
    },
  };
}

function read(message: IncomingMessage): ReceivedEvent {
  try {
    return parseEvent(message.body);
  } catch (cause) {
    throw new Unprocessable('not an event of this mesh', { cause });
  }
}

/** Whose event it was, by its routing key; both when even that cannot be told. */
function sourcesOf({ routingKey }: IncomingMessage): readonly Source[] {
  if (routingKey === 'relay.heartbeat') return [];
  const owner = sources.filter((source) => `${routingKey.split('.')[0]}s` === source);
  return owner.length > 0 ? owner : sources;
}

/** Messages taken but not applied yet, by id; a heartbeat waits for those that came before it. */
function trackUnapplied() {
  const pending = new Map<string, { settled: Promise<void>; settle(): void }>();
  const remove = (id: string): void => {
    pending.get(id)?.settle();
    pending.delete(id);
  };
  return {
    add: (id: string): void => {
      if (pending.has(id)) return; // the same message, tried again
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
    settledBefore: async (): Promise<void> => {
      await Promise.all([...pending.values()].map(({ settled }) => settled));
    },
  };
}
