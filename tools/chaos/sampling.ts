// The measurements of a soak. Every few seconds: memory and handles of each process, the outboxes and the queues.
// Every minute: the live heap of each process.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { queues } from '@promopulse/shared/contracts/queues';
import { services } from '@promopulse/shared/contracts/services';
import { withClient } from '@promopulse/shared/database/provision';
import { openConnection } from '@promopulse/shared/messaging/rabbitmq/connection';
import { topologyOf } from '@promopulse/shared/messaging/rabbitmq/topology';
import type { Channel } from 'amqplib';
import type { Quantity, Series } from './growth.ts';
import { type LiveHeap, openLiveHeap } from './live-heap.ts';
import { scrapeReplicas } from './scrape.ts';
import type { Stack } from './stack.ts';

/** V8 alone rarely runs a full collection, so this keeps the resident memory lower than without the measurement. */
const collectEveryMs = 60_000;

/** @param stack whose replicas have an inspector */
export async function startSampling(stack: Stack, everyMs: number): Promise<Sampling> {
  const heaps = new Map<string, LiveHeap>();
  for (const { name, inspector } of stack.replicas) heaps.set(name, await openLiveHeap(inspector as number));
  const lifetime = new AbortController();
  const connection = await openConnection({ url: stack.rabbit.url }, 'promopulse soak', lifetime);
  return new Sampling({ stack, heaps, channel: await connection.createChannel(), lifetime }, everyMs);
}

interface Sources {
  stack: Stack;
  heaps: ReadonlyMap<string, LiveHeap>;
  channel: Channel;
  /** Aborting it closes the channel's connection. */
  lifetime: AbortController;
}

/** Samples from its creation until `stop`. */
export class Sampling {
  readonly #sources: Sources;
  readonly #series = new Map<string, Series>();
  readonly #startedAt = performance.now();
  readonly #loop: Promise<void>;
  #nextCollectionAt = 0;
  #isRunning = true;

  constructor(sources: Sources, everyMs: number) {
    this.#sources = sources;
    this.#loop = this.#sampleEvery(everyMs);
  }

  series(): Series[] {
    return [...this.#series.values()];
  }

  /** The last samples on one line. */
  summary(): string {
    const sumOf = (quantity: Quantity): number =>
      this.series()
        .filter((series) => series.quantity === quantity)
        .reduce((sum, { samples }) => sum + (samples.at(-1)?.value ?? 0), 0);
    const processes = `${Math.round(sumOf('memory'))} MB, ${sumOf('handles')} handles`;
    return `${processes}, ${sumOf('outbox waiting')} waiting, ${sumOf('queue')} queued`;
  }

  /** @throws the error that ended the sampling, if there was one */
  async stop(): Promise<void> {
    this.#isRunning = false;
    const { heaps, lifetime } = this.#sources;
    await this.#loop.finally(() => {
      for (const heap of heaps.values()) heap.close();
      lifetime.abort(new Error('closed'));
    });
  }

  async #sampleEvery(everyMs: number): Promise<void> {
    for (let nextAt = performance.now(); this.#isRunning; nextAt += everyMs) {
      this.#sampleProcesses();
      await this.#sampleMetrics();
      await this.#sampleHeaps();
      await this.#sampleOutboxes();
      await this.#sampleQueues();
      while (this.#isRunning && performance.now() < nextAt + everyMs) await sleep(100);
    }
  }

  #record(subject: string, quantity: Quantity, value: number): void {
    const key = `${subject} ${quantity}`;
    const series = this.#series.get(key) ?? { subject, quantity, samples: [] };
    this.#series.set(key, series);
    series.samples.push({ at: (performance.now() - this.#startedAt) / 1_000, value });
  }

  #sampleProcesses(): void {
    for (const replica of this.#sources.stack.replicas) {
      const pid = replica.pid();
      if (pid === undefined) continue;
      this.#record(replica.name, 'memory', residentMegabytes(pid));
      this.#record(replica.name, 'handles', readdirSync(`/proc/${pid}/fd`).length);
    }
  }

  /** Scrapes as often as Prometheus does, or more. */
  async #sampleMetrics(): Promise<void> {
    for (const [name, text] of await scrapeReplicas(this.#sources.stack.replicas)) {
      this.#record(name, 'metric series', text.split('\n').filter((line) => /^\w/.test(line)).length);
    }
  }

  async #sampleHeaps(): Promise<void> {
    if (performance.now() < this.#nextCollectionAt) return;
    this.#nextCollectionAt = performance.now() + collectEveryMs;
    for (const [name, heap] of this.#sources.heaps) this.#record(name, 'live heap', await heap.measure());
  }

  async #sampleOutboxes(): Promise<void> {
    await withClient(this.#sources.stack.databaseUrl(), async (client) => {
      for (const service of services) {
        const { rows } = await client.query<{ waiting: number; kept: number; oldest: number; bytes: number }>(
          `select count(*) filter (where published_at is null)::int as waiting, count(*)::int as kept,
                  coalesce(extract(epoch from now() - min(published_at)), 0)::float as oldest,
                  pg_total_relation_size('${service}.outbox')::float as bytes from ${service}.outbox`,
        );
        const [{ waiting, kept, oldest, bytes }] = rows as [(typeof rows)[number]];
        this.#record(service, 'outbox waiting', waiting);
        this.#record(service, 'oldest published', oldest);
        this.#record(service, 'outbox kept', kept);
        this.#record(service, 'outbox table', bytes / 2 ** 20);
      }
    });
  }

  async #sampleQueues(): Promise<void> {
    const { channel, stack } = this.#sources;
    const topology = topologyOf(stack.prefix);
    for (const queue of Object.keys(queues)) {
      this.#record(queue, 'queue', (await channel.checkQueue(topology.queue(queue))).messageCount);
      this.#record(queue, 'dead letters', (await channel.checkQueue(topology.deadQueue(queue))).messageCount);
    }
  }
}

function residentMegabytes(pid: number): number {
  const [, kilobytes] = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB/m) ?? [];
  return Number(kilobytes) / 1_024;
}
