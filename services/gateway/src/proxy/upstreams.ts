// Which service owns which public paths, and where it listens. Requests are forwarded to the public listener only. From
// the internal listener, which has the health, the document and the internal routes, the gateway gets its own pages.
import { ConfigError } from '@promopulse/shared/config';
import {
  type InternalUrlVariable,
  internalUrlVariable,
  type ServiceName,
  services,
  type UrlVariable,
  urlVariable,
} from '@promopulse/shared/contracts/services';
import { z } from 'zod';
import { readBoundedText } from './bounded-text.ts';

const serviceUrl = z
  .url({ protocol: /^http$/, error: 'must be an http:// URL', abort: true })
  .refine((value) => new URL(value).href === `${new URL(value).origin}/`, 'must be scheme, host and port only')
  .transform((value) => new URL(value).origin);

/** Service → the first segments of its public paths. */
const prefixes = {
  users: ['/users'],
  promotions: ['/promotions'],
  subscriptions: ['/subscriptions'],
  engagement: ['/events', '/statistics'],
} as const satisfies Record<ServiceName, readonly string[]>;

type UpstreamConfig = Record<UrlVariable<ServiceName>, string> &
  Partial<Record<InternalUrlVariable<ServiceName>, string | undefined>>;

/** `USERS_URL`, `USERS_INTERNAL_URL` and so on, for each service. */
export const upstreamConfig = {
  ...(Object.fromEntries(services.map((service) => [urlVariable(service), serviceUrl])) as Record<
    UrlVariable<ServiceName>,
    typeof serviceUrl
  >),
  ...(Object.fromEntries(services.map((service) => [internalUrlVariable(service), serviceUrl.optional()])) as Record<
    InternalUrlVariable<ServiceName>,
    z.ZodOptional<typeof serviceUrl>
  >),
};

export interface Upstream {
  name: string;
  /** Its public paths are these and all paths below them. */
  prefixes: readonly string[];
  url: string;
  internalUrl: string;
}

/** @throws ConfigError when the URL of an internal listener is unknown */
export function listUpstreams(config: UpstreamConfig): readonly Upstream[] {
  return services.map((name) => {
    const [url, internalUrl] = [config[urlVariable(name)], config[internalUrlVariable(name)]];
    if (internalUrl === undefined) {
      throw new ConfigError(
        `${internalUrlVariable(name)} is not set, and ${urlVariable(name)} names no port to derive it from.`,
      );
    }
    return { name, prefixes: prefixes[name], url, internalUrl };
  });
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

/** Maximum size of such a page. The largest one, the OpenAPI document of a service, has a tenth of it. */
const maxPageBytes = 4_194_304;

/** Gets a page that the gateway itself needs from the internal listener. @returns undefined when there is no answer, or none in JSON, in time */
export async function fetchPage(
  upstream: Upstream,
  path: string,
  timeoutMs = 1_000,
): Promise<{ status: number; body: Record<string, unknown> } | undefined> {
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(`${upstream.internalUrl}${path}`, { signal, redirect: 'error' });
    const body: unknown = JSON.parse(await readBoundedText(response, maxPageBytes));
    return typeof body === 'object' && body !== null ? { status: response.status, body: { ...body } } : undefined;
  } catch {
    return undefined;
  }
}
