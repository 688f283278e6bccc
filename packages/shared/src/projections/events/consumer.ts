// Consumes the events of other services. Versions make every handler idempotent. A heartbeat depends on the order: it is
// applied only after the messages before it, and only while none of them is missing (decision 0015).
import { randomUUID } from 'node:crypto';
import { queues } from '../../contracts/queues.ts';
import type { ServiceName } from '../../contracts/services.ts';
import type { Database } from '../../database/database.ts';
import type { Broker, Consumer, IncomingMessage } from '../../messaging/broker.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { type AnyProjections, projectionOfEvent } from '../definition.ts';
import type { InvalidationReason, ProjectionCounts } from '../projection-metrics.ts';
import { applyHeartbeat, type HeartbeatOutcome, invalidate } from '../rows/source-store.ts';
import { doubt } from '../rows/store.ts';
import { EventBatches } from './event-batches.ts';
import { type ProjectedMessage, readMessage } from './events.ts';
import { InFlight, type InFlightMessage } from './in-flight.ts';
import { LossDetector } from './loss-detector.ts';

/** What arrives while a statement is at work makes the next batch. 500 cost a quarter less CPU, and more after a crash. */
const prefetch = 200;

interface ProjectionOptions {
  projections: AnyProjections;
  database: Database;
  broker: Pick<Broker, 'userName'>;
  log: Logger;
  counts: Pick<ProjectionCounts, 'invalidated'>;
  /** Called when an owner must be read. */
  onInvalidated(): void;
}

export function projectionConsumer(options: ProjectionOptions): Consumer {
  const { queue } = options.projections;
  const consumer = new ProjectionConsumer(options);
  return {
    queue,
    bindings: queues[queue],
    prefetch,
    handle: (message) => consumer.handle(message),
    onDeadLetter: (message) => consumer.onDeadLetter(message),
  };
}

/** A message from its receipt until it is settled. */
interface Received {
  read(): ProjectedMessage;
  /** Why its owner must be invalidated before it is applied; undefined when nothing is missing, or when that is done. */
  loss: { owner: ServiceName; reason: InvalidationReason; session?: string | undefined } | undefined;
  /** The session of heartbeats that it belongs to. */
  session: string | undefined;
  inFlight: InFlightMessage;
}

/** Per owner: whose heartbeats are applied, how many were, and why the last one was not. */
interface Heartbeats {
  session: string;
  applied: number;
  refused: HeartbeatOutcome | undefined;
}

class ProjectionConsumer {
  readonly #options: ProjectionOptions;
  readonly #batches: EventBatches;
  readonly #inFlight = new InFlight();
  readonly #losses = new LossDetector();
  readonly #heartbeats = new Map<ServiceName, Heartbeats>();
  readonly #received = new WeakMap<IncomingMessage, Received>();
  /** Epochs for which their owner was invalidated. The reading that follows decides which is the current one. */
  readonly #announcedEpochs = new Set<string>();

  constructor(options: ProjectionOptions) {
    this.#options = options;
    this.#batches = new EventBatches(options.database);
  }

  /** Its first call for a message happens in the order of the queue: until `await`, nothing may come in between. */
  async handle(message: IncomingMessage): Promise<'ignored' | undefined> {
    const received = this.#received.get(message) ?? this.#receive(message);
    const read = received.read();
    if (received.loss) {
      await this.#invalidate(received.loss.owner, received.loss);
      received.loss = undefined;
    }
    const applied = await this.#apply(message, received, read);
    received.inFlight.settle();
    return applied ? undefined : 'ignored';
  }

  async onDeadLetter(message: IncomingMessage): Promise<void> {
    for (const owner of this.#ownersOf(message)) await this.#invalidate(owner, { reason: 'dead letter' });
    this.#received.get(message)?.inFlight.settle();
  }

  #receive(message: IncomingMessage): Received {
    const { projections, broker } = this.#options;
    const received: Received = {
      read: () => readMessage(message, { projections, ownUser: broker.userName() }),
      loss: undefined,
      session: undefined,
      inFlight: this.#inFlight.add(message),
    };
    this.#received.set(message, received);
    const read = received.read(); // throws for a message that will be dead-lettered
    received.read = () => read;
    if (read.kind !== 'other' && read.publication) this.#detectLoss(message, received, read);
    return received;
  }

  #detectLoss(
    { session }: IncomingMessage,
    received: Received,
    { projection: { owner }, publication, kind }: Exclude<ProjectedMessage, { kind: 'other' }>,
  ): void {
    if (!publication) return;
    const { lead, sequencenumber: number } = publication;
    const reason = this.#losses.receive(owner, { session, lead, number, isHeartbeat: kind === 'heartbeat' });
    if (reason) {
      const newSession = reason === 'session' ? this.#beginHeartbeats(owner) : undefined;
      received.loss = { owner, reason, session: newSession };
    }
    received.session = this.#heartbeats.get(owner)?.session;
  }

  #beginHeartbeats(owner: ServiceName): string {
    const session = randomUUID();
    this.#heartbeats.set(owner, { session, applied: 0, refused: undefined });
    return session;
  }

  async #invalidate(
    owner: ServiceName,
    {
      reason,
      session,
      complete = false,
    }: { reason: InvalidationReason; session?: string | undefined; complete?: boolean },
  ): Promise<void> {
    await invalidate(this.#options.database, owner, { complete, session });
    this.#options.counts.invalidated(owner, reason);
    // A new session is normal: this process or the broker has started, or another replica has consumed before.
    this.#options.log[reason === 'session' ? 'info' : 'warn']({ source: owner, reason }, 'projection invalidated');
    this.#options.onInvalidated();
  }

  /** @returns whether the projection now equals what the message says */
  async #apply(message: IncomingMessage, received: Received, read: ProjectedMessage): Promise<boolean> {
    const { database } = this.#options;
    switch (read.kind) {
      case 'state': {
        const outcome = await this.#batches.apply(read);
        if (outcome === 'other_epoch') await this.#announceEpoch(read.projection.owner, read.publication.epoch);
        if (outcome === 'superseded') this.#options.onInvalidated();
        return outcome === 'applied';
      }
      case 'doubt':
        this.#warn(message, read.reason, 'reading a row from its owner instead of the event');
        await doubt(database, read.projection, read.id);
        this.#options.onInvalidated();
        return false;
      case 'heartbeat':
        await received.inFlight.whenFirst();
        if (!message.signal.aborted) await this.#applyHeartbeat(received, read);
        return false;
      case 'other':
        if (read.reason) this.#warn(message, read.reason, 'ignoring a heartbeat');
        return false;
    }
  }

  async #applyHeartbeat(
    { session }: Received,
    { projection: { owner }, publication, watermark, position }: Extract<ProjectedMessage, { kind: 'heartbeat' }>,
  ): Promise<void> {
    const heartbeats = this.#heartbeats.get(owner);
    if (!heartbeats || heartbeats.session !== session) return; // a later message has begun a new session
    const { epoch } = publication;
    const heartbeat = { watermark, epoch, position, session: heartbeats.session, beats: heartbeats.applied };
    const outcome = await applyHeartbeat(this.#options.database, owner, heartbeat);
    if (outcome === 'applied') {
      heartbeats.applied += 1;
      heartbeats.refused = undefined;
      this.#announcedEpochs.delete(epoch); // should it end and come back, it is announced again
      return;
    }
    // Once, when this state begins: the owner is then read, and the lease runs out if that does not end it.
    if (heartbeats.refused === outcome) return;
    if (outcome === 'session') {
      await this.#invalidate(owner, { reason: 'projection set back', session: this.#beginHeartbeats(owner) });
      return;
    }
    if (outcome === 'epoch') await this.#announceEpoch(owner, epoch);
    else if (outcome === 'set_back') await this.#invalidate(owner, { reason: 'owner set back', complete: true });
    else await this.#invalidate(owner, { reason: 'clock ahead' });
    heartbeats.refused = outcome;
  }

  async #announceEpoch(owner: ServiceName, epoch: string): Promise<void> {
    if (this.#announcedEpochs.has(epoch)) return;
    await this.#invalidate(owner, { reason: 'epoch', complete: true });
    this.#announcedEpochs.add(epoch);
  }

  #warn({ id, routingKey, userId }: IncomingMessage, reason: string, text: string): void {
    const { log, projections } = this.#options;
    log.warn({ queue: projections.queue, message_id: id, routing_key: routingKey, user_id: userId, reason }, text);
  }

  /** The owner of a message, by its routing key; all owners when the routing key names none. */
  #ownersOf({ routingKey }: IncomingMessage): ServiceName[] {
    const { projections } = this.#options;
    if (routingKey === 'relay.heartbeat') return [];
    const projection = projectionOfEvent(projections, routingKey);
    return projection ? [projection.owner] : projections.all.map(({ owner }) => owner);
  }
}
