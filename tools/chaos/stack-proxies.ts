// A network proxy on every connection between two parts of the stack, so that each connection can be disturbed alone.
import { hasQueue } from '@promopulse/shared/contracts/queues';
import { schemaOwners, services } from '@promopulse/shared/contracts/services';
import type { Keep } from '../../local/servers.ts';
import { type NetworkProxy, openNetworkProxy } from './network-proxy.ts';

export interface StackProxies {
  /** Named `<from>→<to>`, such as `gateway→users`, `gateway→users:internal` or `users-1→postgres`. */
  all: NetworkProxy[];
  /** Replaces the port of a URL by the port of a proxy. */
  through(name: string, url: string): string;
}

interface Targets {
  /** The ports of both replicas of a part. */
  portsOf(part: string): readonly number[];
  /** The ports of the internal listeners of both replicas of a service. */
  internalPortsOf(service: string): readonly number[];
  postgres(): number;
  rabbit(): number;
}

export async function openStackProxies(targets: Targets, keep: Keep): Promise<StackProxies> {
  const proxies = new Map<string, NetworkProxy>();
  for (const [name, ports] of connectionsOf(targets)) {
    const proxy = await openNetworkProxy(name, ports);
    keep(() => proxy.close());
    proxies.set(name, proxy);
  }
  return {
    all: [...proxies.values()],
    through: (name, url) => {
      const changed = new URL(url);
      changed.port = String(proxies.get(name)?.port);
      return changed.href;
    },
  };
}

type Connection = [name: string, ports: () => readonly number[]];

/** Name and target ports of each connection. Replicas share the proxy of an HTTP connection. */
function connectionsOf({ portsOf, internalPortsOf, postgres, rabbit }: Targets): Connection[] {
  const consumers = services.filter(hasQueue);
  return [
    ['client→gateway', () => portsOf('gateway')],
    ...schemaOwners.flatMap((part) =>
      [`${part}-1`, `${part}-2`].map((replica): Connection => [`${replica}→postgres`, () => [postgres()]]),
    ),
    ...services.flatMap((service): Connection[] => [
      [`gateway→${service}`, () => portsOf(service)],
      [`gateway→${service}:internal`, () => internalPortsOf(service)],
      [`${service}-1→rabbit`, () => [rabbit()]],
      [`${service}-2→rabbit`, () => [rabbit()]],
    ]),
    ...consumers.flatMap((consumer) =>
      services
        .filter((owner) => owner !== consumer)
        .map((owner): Connection => [`${consumer}→${owner}`, () => internalPortsOf(owner)]),
    ),
  ];
}
