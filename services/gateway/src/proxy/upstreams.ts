// Which service owns which public paths. The other paths of a service (its health, its internal routes, its document)
// cannot be reached through the gateway, because no prefix leads to them.
import { type ServiceName, services, type UrlVariable, urlVariable } from '@promopulse/shared/contracts/services';
import { z } from 'zod';

const serviceUrl = z
  .url({ protocol: /^http$/, error: 'must be an http:// URL' })
  .refine((value) => new URL(value).href === `${new URL(value).origin}/`, 'must be scheme, host and port only')
  .transform((value) => new URL(value).origin);

/** Service → the first segments of its public paths. */
const prefixes = {
  users: ['/users'],
  promotions: ['/promotions'],
  subscriptions: ['/subscriptions'],
} as const satisfies Record<ServiceName, readonly string[]>;

type UpstreamConfig = Record<UrlVariable<ServiceName>, string>;

/** `USERS_URL` and so on, one for each service. */
export const upstreamConfig = Object.fromEntries(
  services.map((service) => [urlVariable(service), serviceUrl]),
) as Record<keyof UpstreamConfig, typeof serviceUrl>;

export interface Upstream {
  name: string;
  /** Its public paths are these and all paths below them. */
  prefixes: readonly string[];
  url: string;
}

export function listUpstreams(config: UpstreamConfig): readonly Upstream[] {
  return services.map((name) => ({ name, prefixes: prefixes[name], url: config[urlVariable(name)] }));
}

export function ownsPath({ prefixes }: Upstream, path: string): boolean {
  return prefixes.some((prefix) => path === prefix || path.startsWith(`${prefix}/`));
}

/**
 * The form of a path that the service owns, for the log: `/users`, `/users/{id}`, or `/promotions/{id}/*`. A path itself
 * may contain a caller's email or phone number. The log of the service has its own route of the same request id.
 */
export function pathForm({ prefixes }: Upstream, path: string): string {
  const prefix = prefixes.find((each) => path === each || path.startsWith(`${each}/`)) ?? '';
  const segments = path.slice(prefix.length).split('/').length - 1;
  return `${prefix}${['', '/{id}'][segments] ?? '/{id}/*'}`;
}

/** Gets a page that the gateway itself needs. @returns undefined when there is no answer, or none in JSON, in time */
export async function fetchPage(
  upstream: Upstream,
  path: string,
  timeoutMs = 1_000,
): Promise<{ status: number; body: Record<string, unknown> } | undefined> {
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(`${upstream.url}${path}`, { signal, redirect: 'error' });
    const body: unknown = await response.json();
    return typeof body === 'object' && body !== null ? { status: response.status, body: { ...body } } : undefined;
  } catch {
    return undefined;
  }
}
