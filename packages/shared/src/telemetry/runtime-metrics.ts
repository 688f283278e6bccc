// The process and its JavaScript engine. Names of the process by Prometheus' guidelines for client libraries, those of
// Node and V8 by OpenTelemetry's semantic conventions. The client library has such metrics too: one of them runs a timer
// ten times a second, and `promtool` refuses some of its names.
import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay, PerformanceObserver, performance } from 'node:perf_hooks';
import { getHeapSpaceStatistics } from 'node:v8';
import type { Metrics } from './metrics.ts';

/** Milliseconds between two looks of libuv at its delay. They are no delay. */
const resolutionMs = 20;

/** To be called once in a process: what was measured since the last scrape is forgotten after each. */
export function measureRuntime(metrics: Metrics): void {
  measureProcess(metrics);
  measureEventLoop(metrics);
  measureGarbageCollection(metrics);
  const spaces = (read: (space: ReturnType<typeof getHeapSpaceStatistics>[number]) => number) => () =>
    getHeapSpaceStatistics().map((space) => [{ v8js_heap_space_name: space.space_name }, read(space)] as const);
  metrics.gauge(
    { name: 'v8js_memory_heap_used_bytes', help: 'Size of the objects in each space of the heap.' },
    spaces((space) => space.space_used_size),
  );
  metrics.gauge(
    { name: 'v8js_memory_heap_limit_bytes', help: 'Size that each space of the heap has taken from the system.' },
    spaces((space) => space.space_size),
  );
}

function measureProcess(metrics: Metrics): void {
  const startedAt = Date.now() / 1_000 - process.uptime();
  metrics.counter({ name: 'process_cpu_seconds_total', help: 'CPU time of the process, user and system.' }, () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  metrics.gauge(
    { name: 'process_start_time_seconds', help: 'When the process started, in Unix time.' },
    () => startedAt,
  );
  metrics.gauge({ name: 'process_resident_memory_bytes', help: 'Resident memory of the process.' }, () =>
    process.memoryUsage.rss(),
  );
  metrics.gauge(
    { name: 'process_open_fds', help: 'Open file descriptors, sockets too. On Linux only.' },
    countOpenFiles,
  );
}

function countOpenFiles(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length - 1; // one of them reads the folder
  } catch {
    return undefined;
  }
}

function measureEventLoop(metrics: Metrics): void {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs });
  delays.enable();
  const seconds = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e9 - resolutionMs / 1_000);
  const delay = (name: string, what: string, read: () => number): void =>
    metrics.gauge(
      { name, help: `${what} of the event loop since the last scrape.` },
      () => (delays.count > 0 ? seconds(read()) : undefined), // NaN without one
    );
  delay('nodejs_eventloop_delay_p50_seconds', 'Median delay', () => delays.percentile(50));
  delay('nodejs_eventloop_delay_p99_seconds', 'Delay at the 99th percentile', () => delays.percentile(99));
  delay('nodejs_eventloop_delay_max_seconds', 'Longest delay', () => {
    const { max } = delays;
    delays.reset(); // this one is read last
    return max;
  });
  let before = performance.eventLoopUtilization();
  metrics.gauge(
    {
      name: 'nodejs_eventloop_utilization_ratio',
      help: 'Share of the time since the last scrape in which the event loop was busy. At 1 the process is at its limit.',
    },
    () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, before);
      before = now;
      return utilization;
    },
  );
}

/** `kind` of the entries of perf_hooks → what the conventions call it. */
const collections: Readonly<Record<number, string>> = { 1: 'minor', 4: 'major', 8: 'incremental', 16: 'weakcb' };

function measureGarbageCollection(metrics: Metrics): void {
  const observe = metrics.histogram({
    name: 'v8js_gc_duration_seconds',
    help: 'Time of one garbage collection.',
    labels: ['v8js_gc_type'],
    buckets: [0.001, 0.01, 0.1, 1],
  });
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const { duration, detail } = entry as typeof entry & { detail: { kind: number } };
      const { kind } = detail;
      observe([collections[kind] ?? 'minor'], duration / 1_000);
    }
  });
  observer.observe({ entryTypes: ['gc'] });
}
