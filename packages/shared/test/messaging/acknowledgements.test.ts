// Few frames acknowledge many deliveries, and never one that is not settled.
import { expect, test } from '@jest/globals';
import type { ConsumeMessage } from 'amqplib';
import fc from 'fast-check';
import { Acknowledgements } from '../../src/messaging/rabbitmq/acknowledgements.ts';

const delivery = (deliveryTag: number) => ({ fields: { deliveryTag } }) as ConsumeMessage;

/** Records the frames: a tag, with `+` when it stands for all before it as well. */
function startRecording() {
  const frames: string[] = [];
  const channel = {
    ack: ({ fields }: ConsumeMessage, all = false) => frames.push(`${fields.deliveryTag}${all ? '+' : ''}`),
  };
  const errors: unknown[] = [];
  const acknowledgements = new Acknowledgements(channel as never, (error) => errors.push(error));
  return { frames, errors, acknowledgements, channel };
}

test('all deliveries of a turn, settled in any order, are acknowledged by one frame', async () => {
  const { frames, acknowledgements } = startRecording();
  const deliveries = [1, 2, 3, 4].map(delivery);
  for (const each of deliveries) acknowledgements.open(each);
  for (const each of deliveries.toReversed()) acknowledgements.settle(each);
  expect(frames).toEqual([]);
  await new Promise(setImmediate);
  expect(frames).toEqual(['4+']);
});

test('those behind an open delivery are acknowledged too, each by a frame of its own', () => {
  const { frames, acknowledgements } = startRecording();
  for (const tag of [1, 2, 3, 4, 5]) acknowledgements.open(delivery(tag));
  for (const tag of [5, 2, 1, 4]) acknowledgements.settle(delivery(tag));
  acknowledgements.flush();
  expect(frames).toEqual(['2+', '4', '5']);
  acknowledgements.settle(delivery(3));
  acknowledgements.flush();
  acknowledgements.flush();
  expect(frames).toEqual(['2+', '4', '5', '3+']);
});

test('a rejected delivery is not waited for', () => {
  const { frames, acknowledgements } = startRecording();
  for (const tag of [1, 2]) acknowledgements.open(delivery(tag));
  acknowledgements.release(delivery(1));
  acknowledgements.settle(delivery(2));
  acknowledgements.flush();
  expect(frames).toEqual(['2+']);
});

test('whatever the order, exactly the settled deliveries are acknowledged', () => {
  fc.assert(
    fc.property(fc.shuffledSubarray([1, 2, 3, 4, 5, 6, 7, 8]), fc.integer({ min: 1, max: 8 }), (order, turn) => {
      const { frames, acknowledgements } = startRecording();
      for (let tag = 1; tag <= 8; tag += 1) acknowledgements.open(delivery(tag));
      for (const [index, tag] of order.entries()) {
        acknowledgements.settle(delivery(tag));
        if (index % turn === 0) acknowledgements.flush();
      }
      acknowledgements.flush();
      const acknowledged = new Set<number>();
      for (const frame of frames) {
        const tag = Number.parseInt(frame, 10);
        for (let each = frame.endsWith('+') ? 1 : tag; each <= tag; each += 1) acknowledged.add(each);
      }
      expect([...acknowledged].sort()).toEqual(order.toSorted());
    }),
  );
});

test('an error of the closed channel is passed on', () => {
  const { errors, acknowledgements, channel } = startRecording();
  const closed = new Error('Channel closed');
  channel.ack = () => {
    throw closed;
  };
  acknowledgements.open(delivery(1));
  acknowledgements.settle(delivery(1));
  acknowledgements.flush();
  expect(errors).toEqual([closed]);
});
