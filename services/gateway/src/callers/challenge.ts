// What a caller without a valid credential is told (RFC 6750 3), and where the description of this API's tokens is
// (RFC 9728).
import type { IncomingMessage } from 'node:http';
import { DomainError } from '@promopulse/shared/errors';
import { clientNotAllowed, invalidToken, unauthenticated } from '@promopulse/shared/http/caller/access';
import { scopes } from '@promopulse/shared/http/caller/scopes';
import type { RequestHandler } from 'express';
import { prefixHeader } from '../edge/public-url.ts';

export const metadataPath = '/.well-known/oauth-protected-resource';

/** Where the caller finds the API: PUBLIC_URL, or the origin and the path prefix of the request. `sanitize` must have run. */
export function baseUrlOf({ headers }: IncomingMessage, publicUrl: string | undefined): string {
  if (publicUrl !== undefined) return publicUrl;
  const { 'x-forwarded-proto': scheme = 'http', 'x-forwarded-host': host = '', [prefixHeader]: prefix = '' } = headers;
  return `${scheme}://${host}${prefix}`;
}

/** @param baseUrl of the API, without a slash at the end */
type Fault = (baseUrl: string) => DomainError;

export const credentialMissing: Fault = (baseUrl) => unauthenticated(challenge(baseUrl));

export const credentialRefused: Fault = (baseUrl) => invalidToken(challenge(baseUrl, 'invalid_token'));

export const tokenClientRefused: Fault = (baseUrl) => clientNotAllowed(challenge(baseUrl, 'insufficient_scope'));

/** @param message a sentence without a part of the request */
export function credentialMalformed(message: string): Fault {
  return (baseUrl) =>
    new DomainError('bad_request', 'invalid_request', message, {
      headers: { 'WWW-Authenticate': challenge(baseUrl, 'invalid_request') },
    });
}

export const credentialInTarget = credentialMalformed(
  'The URL contains a credential. Send it in the Authorization header only, and replace it: URLs are kept in logs.',
);

function challenge(baseUrl: string, error?: string): string {
  const parameters = [
    'realm="promopulse"',
    ...(error === undefined ? [] : [`error="${error}"`]),
    `resource_metadata="${baseUrl}${metadataPath}"`,
  ];
  return `Bearer ${parameters.join(', ')}`;
}

/**
 * Answers `metadataPath`.
 * @param issuer of access tokens, if any are accepted
 */
export function metadataRoute(publicUrl: string | undefined, issuer: string | undefined): RequestHandler {
  return (request, response) => {
    const baseUrl = baseUrlOf(request, publicUrl);
    response.json({
      resource: baseUrl,
      ...(issuer !== undefined && { authorization_servers: [issuer] }),
      bearer_methods_supported: ['header'],
      scopes_supported: scopes,
      resource_name: 'PromoPulse',
      resource_documentation: `${baseUrl}/docs`,
    });
  };
}
