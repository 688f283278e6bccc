// What is looked at during a soak, every few seconds: the memory and handles of each process, the outboxes, the
// queue; and every minute what each process holds on to.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { queues } from '@promopulse/shared/contracts/queues';
import { services } from '@promopulse/shared/contracts/services';
import { withClient } from '@promopulse/shared/database/provision';
import { openConnection } from '@promopulse/shared/messaging/rabbitmq/connection';
import { topologyOf } from '@promopulse/shared/messaging/rabbitmq/topology';
import { floorOf, type Sample, trendOf } from './linear-trend.ts';
import { type LiveHeap, openLiveHeap } from './live-heap.ts';
import type { Stack } from './stack.ts';

/** Per hour: the bound. The grain is by how much a quantity moves in a run without growing. */
const quantities = {
  memory: { unit: 'MB', bound: 60, grain: 30 },
  // After all garbage has been collected.
  'live heap': { unit: 'MB', bound: 10, grain: 3 },
  handles: { unit: 'open', bound: 40, grain: 20 },
  'outbox waiting': { unit: 'rows', bound: 200, grain: 50 },
  'oldest published': { unit: 's', bound: 60, grain: 15 },
  // As many as were published in the time of retention: it follows the rate, which the machine decides.
  'outbox kept': { unit: 'rows', bound: Number.POSITIVE_INFINITY, grain: 0 },
  'outbox table': { unit: 'MB', bound: 10, grain: 2 },
  queue: { unit: 'ready', bound: 200, grain: 50 },
  'dead letters': { unit: 'ready', bound: 0, grain: 0 },
} as const;
type Quantity = keyof typeof quantities;

export interface Series {
  of: string;
  quantity: Quantity;
  samples: Sample[];
}

export interface Measure {
  name: string;
  unit: string;
  samples: number;
  /** At the end of the warm-up, at the very end, and the most at any time. */
  start: number;
  end: number;
  max: number;
  perHour: number;
  error: number;
  bound: number;
  verdict: 'flat' | 'unproven' | 'GROWS' | 'not judged';
}

interface Sampling {
  series(): Series[];
  /** The last samples, in short. */
  line(): string;
  stop(): Promise<void>;
}

/** It keeps the resident memory lower as well: left to itself V8 collects everything only rarely. */
const collectEveryMs = 60_000;

/** Of a mesh whose replicas are inspected. */
export async function startSampling(stack: Stack, everyMs: number): Promise<Sampling> {
  const all = new Map<string, Series>();
  const began = performance.now();
  const life = new AbortController();
  const connection = await openConnection(stack.rabbit.url, 'promopulse soak', life);
  const channel = await connection.createChannel();
  const topology = topologyOf(stack.prefix);

  function note(of: string, quantity: Quantity, value: number): void {
    const key = `${of} ${quantity}`;
    const series = all.get(key) ?? { of, quantity, samples: [] };
    all.set(key, series);
    series.samples.push({ at: (performance.now() - began) / 1_000, value });
  }

  const heaps = new Map<string, LiveHeap>();
  for (const { name, inspector } of stack.replicas) heaps.set(name, await openLiveHeap(inspector as number));
  let nextCollection = 0;

  async function sample(): Promise<void> {
    for (const { name, pid } of stack.replicas) {
      const id = pid();
      if (id === undefined) continue;
      note(name, 'memory', residentMegabytes(id));
      note(name, 'handles', readdirSync(`/proc/${id}/fd`).length);
    }
    if (performance.now() >= nextCollection) {
      nextCollection = performance.now() + collectEveryMs;
      for (const [name, heap] of heaps) note(name, 'live heap', await heap.measure());
    }
    await withClient(stack.databaseUrl(), async (client) => {
      for (const service of services) {
        const { rows } = await client.query<{ waiting: number; kept: number; oldest: number; bytes: number }>(
          `select count(*) filter (where published_at is null)::int as waiting, count(*)::int as kept,
                  coalesce(extract(epoch from now() - min(published_at)), 0)::float as oldest,
                  pg_total_relation_size('${service}.outbox')::float as bytes from ${service}.outbox`,
        );
        const [{ waiting, kept, oldest, bytes }] = rows as [(typeof rows)[number]];
        note(service, 'outbox waiting', waiting);
        note(service, 'oldest published', oldest);
        note(service, 'outbox kept', kept);
        note(service, 'outbox table', bytes / 2 ** 20);
      }
    });
    for (const queue of Object.keys(queues)) {
      note(queue, 'queue', (await channel.checkQueue(topology.queue(queue))).messageCount);
      note(queue, 'dead letters', (await channel.checkQueue(topology.deadQueue(queue))).messageCount);
    }
  }

  let running = true;
  const sampling = (async () => {
    for (let next = performance.now(); running; next += everyMs) {
      await sample();
      while (running && performance.now() < next + everyMs) await sleep(100);
    }
  })();
  const lastOf = (quantity: Quantity): number =>
    [...all.values()]
      .filter((series) => series.quantity === quantity)
      .reduce((sum, { samples }) => sum + (samples.at(-1)?.value ?? 0), 0);
  return {
    series: () => [...all.values()],
    line: () =>
      `${Math.round(lastOf('memory'))} MB, ${lastOf('handles')} handles, ${lastOf('outbox waiting')} waiting, ` +
      `${lastOf('queue')} queued`,
    stop: async () => {
      running = false;
      await sampling.finally(() => {
        for (const heap of heaps.values()) heap.close();
        life.abort(new Error('closed'));
      });
    },
  };
}

function residentMegabytes(pid: number): number {
  const [, kilobytes] = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB/m) ?? [];
  return Number(kilobytes) / 1_024;
}

const floorSeconds = 30;

/**
 * Judges what came after the warm-up, by the least value of every half minute: heaps and pools swing, and only what is
 * never given back raises the floor. GROWS: the slope less three standard errors exceeds the bound, and the rise the
 * grain. Flat: the slope plus two does not exceed the bound.
 */
export function measureOf({ of, quantity, samples }: Series, warmUpSeconds: number): Measure {
  const { unit, bound, grain } = quantities[quantity];
  const judged = samples.filter(({ at }) => at >= warmUpSeconds);
  const { perHour, error } = trendOf(floorOf(judged, floorSeconds));
  const hours = ((judged.at(-1)?.at ?? 0) - (judged[0]?.at ?? 0)) / 3_600;
  const grows = perHour - 3 * error > bound && perHour * hours > grain;
  const isFlat = perHour + 2 * error <= bound;
  return {
    name: `${of} ${quantity}`,
    unit,
    samples: judged.length,
    start: judged[0]?.value ?? Number.NaN,
    end: judged.at(-1)?.value ?? Number.NaN,
    max: Math.max(...samples.map(({ value }) => value)),
    ...{ perHour, error, bound },
    verdict: Number.isFinite(bound) ? (grows ? 'GROWS' : isFlat ? 'flat' : 'unproven') : 'not judged',
  };
}
