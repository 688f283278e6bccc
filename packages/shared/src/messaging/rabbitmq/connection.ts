// One connection to RabbitMQ, kept alive. The promise: whatever breaks (socket, heartbeat, channel, consumer, a step of
// the setup), the whole connection ends and a new one is opened and set up from nothing, after a growing pause.
// One AbortController is the life of a connection: aborting it destroys the socket and ends everything built on it.
import type { Writable } from 'node:stream';
import { type ChannelModel, connect } from 'amqplib';
import { backOffMs, settleWithin, sleep } from '../../backoff.ts';
import { coalesceWrites } from '../../coalesce-writes.ts';
import type { Logger } from '../../telemetry/logger.ts';

interface ConnectionOptions<Session> {
  url: string;
  log: Logger;
  /** Shown in the logs and in RabbitMQ's management pages. */
  name: string;
  /** Builds what is used on the connection. Rejecting, like aborting `life` at any time, starts the link over. */
  open(connection: ChannelModel, life: AbortController): Promise<Session>;
}

export interface MaintainedConnection<Session> {
  /** Undefined while there is no working connection. */
  session(): Session | undefined;
  /** Gives this connection up and opens a new one. */
  restart(reason: string): void;
  close(): Promise<void>;
}

/** RabbitMQ advises 5 to 20. A consumer that fell silent is given up after two to three of them, and its neighbour goes on. */
const heartbeatSeconds = 5;
const openTimeoutMs = 10_000;
const closeTimeoutMs = 1_000;
/** A connection that lived shorter than this did not end the outage: the pauses keep growing. */
const stableMs = 1_000;
const reconnect = { delayMs: 100, maxDelayMs: 5_000 };

export function maintainConnection<Session>({
  url,
  log,
  name,
  open,
}: ConnectionOptions<Session>): MaintainedConnection<Session> {
  const address = new URL(url);
  if (!address.searchParams.has('heartbeat')) address.searchParams.set('heartbeat', String(heartbeatSeconds));
  const closing = new AbortController();
  let current: { connection: ChannelModel; life: AbortController; session: Session } | undefined;
  let said: 'connected' | 'lost' | undefined;

  /** From the first byte to the end of the connection. @returns how long it worked, in milliseconds */
  async function live(): Promise<number> {
    const life = new AbortController();
    const ended = new Promise<void>((resolve) =>
      life.signal.addEventListener('abort', () => resolve(), { once: true }),
    );
    const timer = setTimeout(() => life.abort(new Error('no connection in time')), openTimeoutMs);
    const cancel = (): void => life.abort(new Error('closing'));
    closing.signal.addEventListener('abort', cancel, { once: true });
    let since: number | undefined;
    try {
      const connection = await openConnection(address.href, name, life);
      const session = await open(connection, life);
      life.signal.throwIfAborted();
      clearTimeout(timer);
      closing.signal.removeEventListener('abort', cancel); // from here on `close` says goodbye first
      since = performance.now();
      current = { connection, life, session };
      if (said !== 'connected') log.info({ link: name }, 'connected to the broker');
      said = 'connected';
      await ended;
    } catch (error) {
      life.abort(error);
    } finally {
      clearTimeout(timer);
      closing.signal.removeEventListener('abort', cancel);
      current = undefined;
    }
    if (!closing.signal.aborted && said !== 'lost') {
      log.warn({ link: name, reason: reasonText(life.signal.reason) }, 'no connection to the broker');
      said = 'lost';
    }
    return since === undefined ? 0 : performance.now() - since;
  }

  async function liveOn(): Promise<void> {
    let failures = 0;
    while (!closing.signal.aborted) {
      const lasted = await live();
      failures = lasted > stableMs ? 1 : failures + 1;
      await sleep(backOffMs(failures, reconnect), closing.signal);
    }
  }

  const over = liveOn();
  return {
    session: () => (current?.life.signal.aborted ? undefined : current?.session),
    restart: (reason) => current?.life.abort(new Error(reason)),
    close: async () => {
      closing.abort();
      if (current) {
        const { connection, life } = current;
        await settleWithin(
          closeTimeoutMs,
          Promise.resolve().then(() => connection.close()),
        );
        life.abort(new Error('closed'));
      }
      await over;
    },
  };
}

/** RabbitMQ's and the socket's own words: they name hosts, queues and codes, never what a message holds. */
function reasonText(reason: unknown): string {
  const { message, code } = reason as { message?: string; code?: string };
  return message || String(code);
}

/** A connection whose every trouble aborts `life`, and that ends when `life` does. */
export async function openConnection(url: string, name: string, life: AbortController): Promise<ChannelModel> {
  life.signal.throwIfAborted();
  // The socket's own `signal` option destroys it at any stage, also half-open or in the middle of the handshake.
  const socket = { signal: life.signal, noDelay: true, keepAlive: true, clientProperties: { connection_name: name } };
  const connection = await connect(url, socket);
  const fail = (error?: Error): void => life.abort(error ?? new Error('connection closed'));
  connection.on('error', fail);
  connection.on('close', fail);
  // amqplib gives its socket every frame by itself.
  coalesceWrites((connection as unknown as { connection: { stream: Writable } }).connection.stream, process.nextTick);
  return connection;
}

/** Makes a channel part of its connection's life: it never fails alone. */
export function guard<Channel extends { on(event: string, listener: (error?: Error) => void): unknown }>(
  channel: Channel,
  life: AbortController,
): Channel {
  channel.on('error', (error) => life.abort(error));
  // When the connection goes, its channels say so first, and know no reason: it has the word.
  channel.on('close', () => queueMicrotask(() => life.abort(new Error('channel closed'))));
  return channel;
}
