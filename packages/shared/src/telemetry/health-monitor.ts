// What `/health` of a service says about its broker, its dead letters, its outbox and its ids. `degraded` means that requests are
// served, but that people should look. The promise: asking the broker never makes `/health` slow or fail.
import { settleWithin } from '../backoff.ts';
import type { Logger } from './logger.ts';

interface HealthSources {
  log: Logger;
  broker: { isConnected(): boolean; problem(): string | undefined; countDeadLetters(): Promise<number | null> };
  backlog(): Promise<{ waiting: number; oldest_seconds: number }>;
  /** The tables whose ids are nearly used up. */
  usedIds?(): Promise<{ table: string; percent: number }[]>;
}

export interface HealthReport {
  status: 'ok' | 'degraded';
  /** Why it is degraded, for people. */
  degraded: string[];
  broker: 'connected' | 'disconnected';
  /** Why it is disconnected; null while it is connected. */
  broker_problem: string | null;
  /** Null while the broker does not say. */
  dead_letters: number | null;
  outbox: { waiting: number; oldest_seconds: number };
}

/** A broker without a connection, or an event that waits, degrades the service after this time. */
const degradedAfterSeconds = 30;

/** The broker is asked once in this time, however often `/health` is called. */
const cacheMs = 1_000;
const askTimeoutMs = 500;
const sampleMs = 1_000;
/** One look at the dead letters and at the ids for so many samples. */
const samplesPerCount = 10;

export type { HealthMonitor };

/** Begins to observe the sources, until `stop`. */
export function startHealthMonitor(sources: HealthSources): HealthMonitor {
  return new HealthMonitor(sources);
}

class HealthMonitor {
  readonly #sources: HealthSources;
  readonly #timer: NodeJS.Timeout;
  /** A process that starts has not been disconnected yet. */
  #lastConnectedAt = performance.now();
  #counted: { at: number; count: Promise<number | null> } | undefined;
  #lastLogged = 0;
  #usedIds: { table: string; percent: number }[] = [];
  /** Table → percentage that was logged last. */
  readonly #loggedPercents = new Map<string, number>();
  #samples = 0;

  constructor(sources: HealthSources) {
    this.#sources = sources;
    this.#timer = setInterval(() => void this.#sample(), sampleMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** How many dead letters there are; null while the broker does not say. Never rejects, and takes half a second at most. */
  deadLetters(): Promise<number | null> {
    return this.#countDeadLetters();
  }

  /** The tables whose ids are nearly used up, as they were seen last. */
  usedIds(): readonly { table: string; percent: number }[] {
    return this.#usedIds;
  }

  /** @throws when the outbox cannot be read */
  async report(): Promise<HealthReport> {
    const [dead_letters, outbox] = await Promise.all([this.#countDeadLetters(), this.#sources.backlog()]);
    const disconnectedSeconds = this.#disconnectedSeconds();
    const { broker } = this.#sources;
    const isConnected = broker.isConnected();
    const problem = isConnected ? null : (broker.problem() ?? 'unknown');
    const degraded = [
      ...(disconnectedSeconds > degradedAfterSeconds
        ? [`broker disconnected for ${disconnectedSeconds} s: ${problem}`]
        : []),
      ...(dead_letters ? [`${dead_letters} ${dead_letters === 1 ? 'dead letter' : 'dead letters'}`] : []),
      ...(outbox.oldest_seconds > degradedAfterSeconds
        ? [`oldest event not published for ${Math.floor(outbox.oldest_seconds)} s`]
        : []),
      ...this.#usedIds.map(({ table, percent }) => `${percent} % of the ids of ${table} are used`),
    ];
    return {
      status: degraded.length > 0 ? 'degraded' : 'ok',
      degraded,
      broker: isConnected ? 'connected' : 'disconnected',
      broker_problem: problem,
      dead_letters,
      outbox,
    };
  }

  /** Runs also between the calls of `/health`: it notices a lost broker, and logs a rise of the dead letters and ids. */
  async #sample(): Promise<void> {
    this.#disconnectedSeconds();
    this.#samples += 1;
    if (this.#samples % samplesPerCount !== 1) return;
    await Promise.all([this.#sampleDeadLetters(), this.#sampleUsedIds()]);
  }

  async #sampleDeadLetters(): Promise<void> {
    const count = await this.#countDeadLetters();
    if (count === null) return;
    if (count > this.#lastLogged) this.#sources.log.warn({ dead_letters: count }, 'dead letters wait for an operator');
    this.#lastLogged = count;
  }

  /** A database that is unavailable is reported elsewhere. */
  async #sampleUsedIds(): Promise<void> {
    this.#usedIds = (await this.#sources.usedIds?.().catch(() => undefined)) ?? this.#usedIds;
    for (const { table, percent } of this.#usedIds) {
      if (percent <= (this.#loggedPercents.get(table) ?? 0)) continue;
      this.#loggedPercents.set(table, percent);
      this.#sources.log.warn({ table, percent }, 'the ids of a table are nearly used up');
    }
  }

  #disconnectedSeconds(): number {
    const now = performance.now();
    if (this.#sources.broker.isConnected()) this.#lastConnectedAt = now;
    return Math.floor((now - this.#lastConnectedAt) / 1_000);
  }

  #countDeadLetters(): Promise<number | null> {
    const now = performance.now();
    if (!this.#counted || now - this.#counted.at > cacheMs) this.#counted = { at: now, count: this.#askBroker() };
    return this.#counted.count;
  }

  async #askBroker(): Promise<number | null> {
    let answer: number | null = null;
    const asking = this.#sources.broker.countDeadLetters().then((count) => {
      answer = count;
    });
    await settleWithin(askTimeoutMs, asking);
    return answer;
  }
}
