// Where clients find the API, if that is not where the gateway listens: behind a proxy that ends TLS, or that has other
// paths. PUBLIC_URL says it. Without it, a trusted proxy may send the path prefix that it removes.
import type { IncomingMessage } from 'node:http';
import { services } from '@promopulse/shared/contracts/services';
import { z } from 'zod';

/** The header by which the path prefix is known to later steps and to services. `sanitize` writes it. */
export const prefixHeader = 'x-forwarded-prefix';

const pathPrefix = /^(?:\/[A-Za-z0-9._~-]+)*$/;
/** As it is written: `new URL` resolves dot segments, and reads a backslash as a slash. */
const schemeAndHost = /^https?:\/\/[^/\\\s]+/i;
/** First segments of the gateway's own paths. A prefix that begins with one could not be told from such a path. */
const ownSegments: ReadonlySet<string> = new Set([
  ...services,
  'api-keys',
  'health',
  'docs',
  'openapi.json',
  '.well-known',
]);

/** Whether a text is '' or a path of plain segments, such as `/promo`, which a path can be appended to. */
export function isPathPrefix(text: string): boolean {
  return pathPrefix.test(text) && !text.split('/').some((segment) => segment === '.' || segment === '..');
}

/** `https://api.example.com/promo`, without a slash at the end. */
export const publicUrlConfig = {
  PUBLIC_URL: z
    .url({
      protocol: /^https?$/,
      error: 'must be an http:// or https:// URL, such as https://api.example.com/promo',
      abort: true,
    })
    .refine((text) => !/[?#]/.test(text) && !new URL(text).username && !new URL(text).password, {
      error: 'must have no user, query or fragment',
      abort: true,
    })
    .transform((text) => text.replace(/\/+$/, ''))
    .refine((url) => isPathPrefix(url.replace(schemeAndHost, '')), {
      error: 'must have a path of letters, digits and . _ ~ - only, without dot segments',
      abort: true,
    })
    .refine((url) => !ownSegments.has(publicPathOf(url).split('/')[1] ?? ''), {
      error: 'must not have a path that begins like one of the API',
    })
    .optional(),
};

/** @returns the path of PUBLIC_URL, such as `/promo`, or '' */
export function publicPathOf(publicUrl: string | undefined): string {
  return publicUrl === undefined ? '' : new URL(publicUrl).pathname.replace(/\/+$/, '');
}

/** A path of this API as its client must write it. `sanitize` must have run. Any other URL stays as it is. */
export function withPublicPrefix({ headers }: IncomingMessage, location: string): string {
  const prefix = headers[prefixHeader];
  return typeof prefix === 'string' && /^\/(?!\/)/.test(location) ? `${prefix}${location}` : location;
}
