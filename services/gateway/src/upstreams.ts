// Which service answers which public path. Everything a service serves outside its own prefix (its health, its
// internal routes, its document) cannot be reached through the gateway, because nothing here leads to it.
import { z } from 'zod';

const serviceUrl = z
  .url({ protocol: /^http$/, error: 'must be an http:// URL' })
  .refine((value) => new URL(value).href === `${new URL(value).origin}/`, 'must be scheme, host and port only')
  .transform((value) => new URL(value).origin);

export const upstreamConfig = {
  USERS_URL: serviceUrl,
  PROMOTIONS_URL: serviceUrl,
  SUBSCRIPTIONS_URL: serviceUrl,
};

export interface Upstream {
  name: string;
  /** Its public paths: this one, and everything below it. */
  prefix: string;
  url: string;
}

export function listUpstreams(config: Record<keyof typeof upstreamConfig, string>): readonly Upstream[] {
  return [
    { name: 'users', prefix: '/users', url: config.USERS_URL },
    { name: 'promotions', prefix: '/promotions', url: config.PROMOTIONS_URL },
    { name: 'subscriptions', prefix: '/subscriptions', url: config.SUBSCRIPTIONS_URL },
  ];
}

export function isBelow(upstream: Upstream, path: string): boolean {
  return path === upstream.prefix || path.startsWith(`${upstream.prefix}/`);
}

/** What the gateway itself asks a service, for `/health` and `/openapi.json`; undefined when there is no usable answer. */
export async function ask(
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
