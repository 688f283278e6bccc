// The metrics of the replicas, as Prometheus reads them.
import type { Replica } from '../../local/replica.ts';

/** @returns name of a replica → text of its metrics; replicas without metrics are left out */
export async function scrapeReplicas(replicas: readonly Replica[]): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  for (const { name, metricsPort } of replicas) {
    if (metricsPort === undefined) continue;
    texts.set(name, await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text());
  }
  return texts;
}
