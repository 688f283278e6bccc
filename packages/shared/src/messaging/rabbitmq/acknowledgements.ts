// Acknowledges deliveries of one channel in few frames. RabbitMQ writes each acknowledgement of a quorum queue to its log,
// and one frame can stand for all deliveries up to its tag. The promise: a delivery is acknowledged only after `settle`,
// and at the end of that turn of the event loop at the latest.
import type { Channel, ConsumeMessage } from 'amqplib';

export class Acknowledgements {
  readonly #channel: Pick<Channel, 'ack'>;
  readonly #onError: (error: unknown) => void;
  /** Delivered and not settled, in the order of the tags. */
  readonly #open = new Set<number>();
  /** Settled and not acknowledged yet. */
  #settled: ConsumeMessage[] = [];

  /** @param onError gets the error that amqplib throws on a closed channel */
  constructor(channel: Pick<Channel, 'ack'>, onError: (error: unknown) => void) {
    this.#channel = channel;
    this.#onError = onError;
  }

  /** Call it for each delivery, in their order. */
  open({ fields }: ConsumeMessage): void {
    this.#open.add(fields.deliveryTag);
  }

  /** The delivery may be acknowledged. */
  settle(delivery: ConsumeMessage): void {
    this.#open.delete(delivery.fields.deliveryTag);
    if (this.#settled.push(delivery) === 1) setImmediate(() => this.flush());
  }

  /** The delivery is rejected, or its channel has ended. Call it after the frame that rejects it was written. */
  release({ fields }: ConsumeMessage): void {
    this.#open.delete(fields.deliveryTag);
  }

  /** Sends the acknowledgements at once: one frame for all before the first open delivery, and one for each after it. */
  flush(): void {
    const settled = this.#settled.sort((a, b) => a.fields.deliveryTag - b.fields.deliveryTag);
    this.#settled = [];
    const [firstOpen = Number.POSITIVE_INFINITY] = this.#open;
    const after = settled.findIndex(({ fields }) => fields.deliveryTag > firstOpen);
    const before = after < 0 ? settled : settled.slice(0, after);
    const last = before.at(-1);
    try {
      if (last) this.#channel.ack(last, true);
      for (const delivery of settled.slice(before.length)) this.#channel.ack(delivery);
    } catch (error) {
      this.#onError(error);
    }
  }
}
