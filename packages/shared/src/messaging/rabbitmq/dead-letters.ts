// The operator's hands on the dead letters in RabbitMQ. Looking must not cost: a message requeued counts toward the
// queue's delivery limit, and at the limit it is dropped. So each letter is read once, published anew with a confirm
// and only then acknowledged; dying in between leaves a double, never a gap.
import { randomUUID } from 'node:crypto';
import type { ConfirmChannel, GetMessage } from 'amqplib';
import { settleWithin } from '../../backoff.ts';
import { contentType } from '../../contracts/envelope.ts';
import { queues } from '../../contracts/queues.ts';
import type { DeadLetter, DeadLetterStore } from '../broker.ts';
import { guard, openConnection } from './connection.ts';
import { confirmedSend, type Send } from './publisher.ts';
import { deadLetterHeaders, declareDeadQueue, declareExchanges, topologyOf } from './topology.ts';

type Fate = 'keep' | 'replay' | 'discard';

const patienceMs = 10_000;

/** @throws when RabbitMQ cannot be reached within 10 s */
export async function openRabbitDeadLetters(
  url: string,
  { prefix = '' }: { prefix?: string } = {},
): Promise<DeadLetterStore> {
  const topology = topologyOf(prefix);
  const life = new AbortController();
  const timer = setTimeout(() => life.abort(new Error('RabbitMQ does not answer')), patienceMs);
  const connection = await openConnection(url, 'promopulse dead letters', life).finally(() => clearTimeout(timer));
  const channel: ConfirmChannel = guard(await connection.createConfirmChannel(), life);
  const send = confirmedSend(channel, life.signal);

  /** Takes each letter that is there at the start exactly once, in order. */
  async function sweep(decide: (letter: DeadLetter) => Fate): Promise<DeadLetter[]> {
    await declareExchanges(channel, topology);
    const seen: DeadLetter[] = [];
    for (const name of Object.keys(queues)) {
      for (let left = await declareDeadQueue(channel, topology, name); left > 0; left -= 1) {
        const raw = await channel.get(topology.deadQueue(name));
        if (!raw) break; // somebody else is at work on them
        const letter = toLetter(raw, name);
        const fate = decide(letter);
        if (fate === 'keep') await post(send, topology.deadQueue(name), letter, true);
        if (fate === 'replay') await post(send, topology.queue(name), letter, false);
        channel.ack(raw);
        seen.push(letter);
      }
    }
    return seen;
  }

  async function settle(fate: Fate, ids?: readonly string[]): Promise<number> {
    let settled = 0;
    await sweep(({ id }) => {
      if (ids && !ids.includes(id)) return 'keep';
      settled += 1;
      return fate;
    });
    return settled;
  }

  return {
    list: () => sweep(() => 'keep'),
    replay: (ids) => settle('replay', ids),
    discard: (ids) => settle('discard', ids),
    close: async () => {
      // The channel first: its close goes out behind the acknowledgements, a connection's could overtake them.
      if (!life.signal.aborted) await settleWithin(1_000, channel.close());
      life.abort(new Error('closed'));
    },
  };
}

/** Straight to a queue by its name. */
async function post(send: Send, queue: string, letter: DeadLetter, asLetter: boolean): Promise<void> {
  const { id: messageId, body, routingKey, reason, attempts, failedAt } = letter;
  const headers = {
    [deadLetterHeaders.routingKey]: routingKey,
    ...(asLetter && {
      [deadLetterHeaders.reason]: reason,
      [deadLetterHeaders.attempts]: attempts,
      [deadLetterHeaders.failedAt]: failedAt,
    }),
  };
  const options = { messageId, contentType, mandatory: true, headers };
  const outcome = await send({ exchange: '', routingKey: queue, body, options }, AbortSignal.timeout(patienceMs));
  if (outcome !== 'confirmed') throw new Error(`${queue} did not take ${messageId}: ${outcome}`);
}

/** A letter of ours says why by its headers; one RabbitMQ set aside itself carries its own account, `x-death`. */
function toLetter({ properties, fields, content }: GetMessage, queue: string): DeadLetter {
  const headers = properties.headers ?? {};
  const death = headers['x-death']?.[0];
  const text = (value: unknown, otherwise: string): string => (typeof value === 'string' ? value : otherwise);
  const diedAt = death ? new Date(death.time.value * 1_000) : new Date();
  return {
    id: text(properties.messageId, randomUUID()),
    queue,
    routingKey: text(headers[deadLetterHeaders.routingKey], death?.['routing-keys'][0] ?? fields.routingKey),
    reason: text(headers[deadLetterHeaders.reason], `RabbitMQ: ${death?.reason ?? 'unknown'}`),
    attempts: Number(headers[deadLetterHeaders.attempts] ?? headers['x-delivery-count'] ?? death?.count ?? 0),
    failedAt: text(headers[deadLetterHeaders.failedAt], diedAt.toISOString()),
    body: content.toString(),
  };
}
