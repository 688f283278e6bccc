// One queue of the in-process transport. The promise: an offer resolves true only once a consumer has applied the
// message or its dead letter is on disk. Until then the sender still owns it (the outbox keeps the row), so what lives
// here may die with the process.
import { settleWithin } from '../../backoff.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { Consumer, IncomingMessage, RetryPolicy } from '../broker.ts';
import { deliver } from '../delivery.ts';

export interface Subscriber {
  consumer: Consumer;
  retry: RetryPolicy;
  log: Logger;
}

export interface Enqueued {
  accepted: Promise<boolean>;
  /** The sender waits no longer: a message not yet begun is withdrawn. */
  abort(): void;
}

export interface MemoryQueue {
  /** The same id again while it is here joins the first. */
  enqueue(message: Omit<IncomingMessage, 'redelivered'>, replyTo?: string): Enqueued;
  /** Whether this id was taken after its sender had given up, which is told once. */
  wasAcceptedLate(id: string): boolean;
  /** @returns how to leave: lets handlers in hand finish for so many milliseconds, then the queue has them back */
  subscribe(member: Subscriber): (timeoutMs: number) => Promise<void>;
  hasConsumers(): boolean;
  isBoundTo(matches: (pattern: string) => boolean): boolean;
}

interface QueueOptions {
  deadLetter(message: IncomingMessage, reason: string, attempts: number): Promise<void>;
  sendReply(replyTo: string, messageId: string): void;
}

interface Entry {
  message: IncomingMessage;
  replyTo: Set<string>;
  taken: Promise<boolean>;
  settle(taken: boolean): void;
  senders: number;
  holder: Seat | undefined;
  /** A sender has given up while it was in hand: later ones are not kept waiting. */
  overdue: boolean;
}

interface Seat extends Subscriber {
  inHand: Set<Promise<void>>;
  leaving: AbortController;
}

const lateIdsKept = 10_000;
const not: Enqueued = { accepted: Promise.resolve(false), abort: () => undefined };

export function createMemoryQueue({ deadLetter, sendReply }: QueueOptions): MemoryQueue {
  const seats: Seat[] = [];
  const patterns = new Set<string>();
  const entries = new Map<string, Entry>();
  const waiting: Entry[] = [];
  const takenLate = new Set<string>();

  function enqueue(message: Omit<IncomingMessage, 'redelivered'>, replyTo?: string): Enqueued {
    if (seats.length === 0) return not;
    const known = entries.get(message.id);
    const entry = known ?? addEntry({ ...message, redelivered: false });
    if (replyTo) entry.replyTo.add(replyTo);
    if (known?.overdue) return not;
    entry.senders += 1;
    return { accepted: entry.taken, abort: () => giveUp(entry) };
  }

  function addEntry(message: IncomingMessage): Entry {
    const { promise: taken, resolve: settle } = Promise.withResolvers<boolean>();
    const entry: Entry = { message, taken, settle, replyTo: new Set(), senders: 0, holder: undefined, overdue: false };
    entries.set(message.id, entry);
    waiting.push(entry);
    setImmediate(dispatch); // never within the sender's own call
    return entry;
  }

  function giveUp(entry: Entry): void {
    entry.senders -= 1;
    if (entries.get(entry.message.id) !== entry) return;
    if (entry.holder) entry.overdue = true;
    else if (entry.senders === 0) drop(entry);
  }

  function drop(entry: Entry): void {
    waiting.splice(waiting.indexOf(entry), 1);
    finish(entry, false);
  }

  function finish(entry: Entry, taken: boolean): void {
    entries.delete(entry.message.id);
    if (taken && entry.overdue) {
      takenLate.add(entry.message.id);
      for (const oldest of takenLate) if (takenLate.size > lateIdsKept) takenLate.delete(oldest);
    }
    entry.settle(taken);
  }

  function dispatch(): void {
    while (waiting.length > 0) {
      const seat = seats.find(({ consumer, inHand }) => inHand.size < (consumer.prefetch ?? 20));
      if (!seat) return;
      seats.push(...seats.splice(seats.indexOf(seat), 1)); // the next message goes to another
      const entry = waiting.shift() as Entry;
      entry.holder = seat;
      const work = hand(entry, seat).finally(() => {
        seat.inHand.delete(work);
        dispatch();
      });
      seat.inHand.add(work);
    }
  }

  async function hand(entry: Entry, seat: Seat): Promise<void> {
    const { message } = entry;
    const settlement = await deliver({
      message,
      consumer: seat.consumer,
      retry: seat.retry,
      log: seat.log,
      signal: seat.leaving.signal,
      deadLetter: (reason, attempts) => deadLetter(message, reason, attempts),
    });
    if (settlement === 'applied') for (const replyTo of entry.replyTo) sendReply(replyTo, message.id);
    if (entry.holder !== seat) return; // it came too late: the queue has taken the message back
    if (settlement === 'interrupted') takeBack(entry);
    else finish(entry, true);
  }

  function takeBack(entry: Entry): void {
    entry.holder = undefined;
    entry.message = { ...entry.message, redelivered: true };
    waiting.unshift(entry);
    if (seats.length === 0) drop(entry);
  }

  async function leave(seat: Seat, timeoutMs: number): Promise<void> {
    seats.splice(seats.indexOf(seat), 1);
    if (seats.length === 0) for (const entry of [...waiting]) drop(entry);
    seat.leaving.abort();
    await settleWithin(timeoutMs, Promise.all(seat.inHand));
    for (const entry of [...entries.values()]) if (entry.holder === seat) takeBack(entry);
    dispatch();
  }

  return {
    enqueue,
    wasAcceptedLate: (id) => takenLate.delete(id),
    subscribe: (member) => {
      const seat: Seat = { ...member, inHand: new Set(), leaving: new AbortController() };
      seats.push(seat);
      for (const pattern of member.consumer.bindings) patterns.add(pattern);
      setImmediate(dispatch);
      return (timeoutMs) => leave(seat, timeoutMs);
    },
    hasConsumers: () => seats.length > 0,
    isBoundTo: (matches) => [...patterns].some(matches),
  };
}
