// One connection to RabbitMQ, kept alive. The promise: whatever fails (socket, heartbeat, channel, consumer, a step of
// the setup), the whole connection is closed, and after a growing pause a new one is opened and set up from the start.
// An AbortController is the lifetime of a connection: aborting it destroys the socket and ends all that uses it.
import type { Writable } from 'node:stream';
import { type ChannelModel, connect } from 'amqplib';
import { backOffMs, settleWithin, sleep } from '../../backoff.ts';
import { coalesceWrites } from '../../coalesce-writes.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { describeConnectionError } from './connection-error.ts';
import { connectArguments, type RabbitEndpoint } from './endpoint.ts';

interface ConnectionOptions<Session> {
  endpoint: RabbitEndpoint;
  log: Logger;
  /** Shown in the logs and in RabbitMQ's management UI. */
  name: string;
  /** Sets up what uses the connection. The connection restarts if it rejects or, at any time, aborts `lifetime`. */
  setUp(connection: ChannelModel, lifetime: AbortController): Promise<Session>;
}

const openTimeoutMs = 10_000;
const closeTimeoutMs = 1_000;
/** A session shorter than this does not reset the back-off. */
const stableMs = 1_000;
/** Of log lines that say why there is no connection. */
const logEveryMs = 10_000;
const reconnect = { delayMs: 100, maxDelayMs: 5_000 };

export type { MaintainedConnection };

/** Opens a connection in the background and keeps it open until `close`. */
export function maintainConnection<Session>(options: ConnectionOptions<Session>): MaintainedConnection<Session> {
  return new MaintainedConnection(options);
}

/**
 * States:
 * - connecting: opening the connection and setting up the session. It takes at most 10 s, then it has failed.
 * - connected: `session()` returns the session, until its lifetime aborts.
 * - waiting: the pause before the next attempt, 0.1 s to 5 s. It grows until a session lasts longer than a second.
 * - closed: by `close`, from any state.
 */
class MaintainedConnection<Session> {
  readonly #options: ConnectionOptions<Session>;
  readonly #closing = new AbortController();
  readonly #done: Promise<void>;
  #current: { connection: ChannelModel; lifetime: AbortController; session: Session } | undefined;
  /** Why there is no connection; undefined while there is one. */
  #problem: string | undefined = 'no connection yet';
  #lastLogged: { problem: string | undefined; at: number } | undefined;

  constructor(options: ConnectionOptions<Session>) {
    this.#options = options;
    this.#done = this.#reconnectLoop();
  }

  /** Undefined while there is no working connection. */
  session(): Session | undefined {
    return this.#current?.lifetime.signal.aborted ? undefined : this.#current?.session;
  }

  /** Why there is no connection, in words for an operator; undefined while there is one. */
  problem(): string | undefined {
    return this.#problem;
  }

  /** Closes this connection and opens a new one. */
  restart(reason: string): void {
    this.#current?.lifetime.abort(new Error(reason));
  }

  /** Resolves when the connection is closed; its socket is destroyed after one second at the latest. */
  async close(): Promise<void> {
    this.#closing.abort();
    if (this.#current) {
      const { connection, lifetime } = this.#current;
      await settleWithin(closeTimeoutMs, connection.close());
      lifetime.abort(new Error('closed'));
    }
    await this.#done;
  }

  async #reconnectLoop(): Promise<void> {
    let failures = 0;
    while (!this.#closing.signal.aborted) {
      const lastedMs = await this.#runSession();
      failures = lastedMs > stableMs ? 1 : failures + 1;
      await sleep(backOffMs(failures, reconnect), this.#closing.signal);
    }
  }

  /** Opens one connection, and resolves when it has ended. @returns how long its session lasted, in milliseconds */
  async #runSession(): Promise<number> {
    const lifetime = new AbortController();
    const ended = new Promise<void>((resolve) =>
      lifetime.signal.addEventListener('abort', () => resolve(), { once: true }),
    );
    const timer = setTimeout(() => lifetime.abort(new Error('no connection in time')), openTimeoutMs);
    const cancel = (): void => lifetime.abort(new Error('closing'));
    this.#closing.signal.addEventListener('abort', cancel, { once: true });
    let connectedAt: number | undefined;
    try {
      const connection = await openConnection(this.#options.endpoint, this.#options.name, lifetime);
      const session = await this.#options.setUp(connection, lifetime);
      lifetime.signal.throwIfAborted();
      clearTimeout(timer);
      this.#closing.signal.removeEventListener('abort', cancel); // from here on `close` first closes it gracefully
      connectedAt = performance.now();
      this.#current = { connection, lifetime, session };
      this.#setProblem(undefined);
      await ended;
    } catch (error) {
      lifetime.abort(error);
    } finally {
      clearTimeout(timer);
      this.#closing.signal.removeEventListener('abort', cancel);
      this.#current = undefined;
    }
    if (!this.#closing.signal.aborted) this.#setProblem(describeConnectionError(lifetime.signal.reason));
    return connectedAt === undefined ? 0 : performance.now() - connectedAt;
  }

  /** Logs once per outage, and again when the reason has changed, at most every 10 s. */
  #setProblem(problem: string | undefined): void {
    this.#problem = problem;
    const last = this.#lastLogged;
    if (last?.problem === problem && last) return;
    const isFirst = !last || last.problem === undefined || problem === undefined;
    const now = performance.now();
    if (!isFirst && now - last.at < logEveryMs) return;
    this.#lastLogged = { problem, at: now };
    const { log, name } = this.#options;
    if (problem === undefined) log.info({ connection: name }, 'connected to the broker');
    else log.warn({ connection: name, reason: problem }, 'no connection to the broker');
  }
}

/**
 * Opens a connection that aborts `lifetime` when it fails or closes, and that is destroyed when `lifetime` aborts.
 * @throws the error of the socket or of RabbitMQ, or the reason of `lifetime`
 */
export async function openConnection(
  endpoint: RabbitEndpoint,
  name: string,
  lifetime: AbortController,
): Promise<ChannelModel> {
  lifetime.signal.throwIfAborted();
  // The socket's own `signal` option destroys it in any state, also half-open or during the handshake.
  const [url, options] = connectArguments(endpoint);
  const socket = {
    ...options,
    signal: lifetime.signal,
    noDelay: true,
    keepAlive: true,
    clientProperties: { connection_name: name },
  };
  const connection = await connect(url, socket);
  const fail = (error?: Error): void => lifetime.abort(error ?? new Error('connection closed'));
  connection.on('error', fail);
  connection.on('close', fail);
  // amqplib writes every frame to its socket separately.
  coalesceWrites((connection as unknown as { connection: { stream: Writable } }).connection.stream, process.nextTick);
  return connection;
}

/** Aborts `lifetime` when the channel fails or closes, so that a channel never fails without its connection. */
export function guard<Channel extends { on(event: string, listener: (error?: Error) => void): unknown }>(
  channel: Channel,
  lifetime: AbortController,
): Channel {
  channel.on('error', (error) => lifetime.abort(error));
  // When a connection fails, amqplib closes its channels first, without a reason. Waiting for the end of this callback
  // lets the connection abort with the real reason.
  channel.on('close', () => queueMicrotask(() => lifetime.abort(new Error('channel closed'))));
  return channel;
}
