// What a client gets for a request that has no response of its service.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { DomainError, outcomeUnknown } from '@promopulse/shared/errors';
import { sendProblem } from '@promopulse/shared/http/problem';
import { requestIdOf } from '@promopulse/shared/http/request-log';
import type { Upstream } from './upstreams.ts';

/** Methods that change nothing (RFC 9110 9.2.1). */
const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

interface Unanswered {
  kind: 'unavailable' | 'timeout';
  /** undici has started to send the request, which needs a connection. From then on a change may have been made. */
  wasSent: boolean;
}

export function unansweredError(
  { method }: IncomingMessage,
  upstream: Upstream,
  { kind, wasSent }: Unanswered,
): DomainError {
  const isSafe = safeMethods.has(String(method));
  if (wasSent && !isSafe) return outcomeUnknown(undefined, kind);
  return isSafe && kind === 'timeout' ? upstreamTimeout(upstream) : upstreamUnavailable(upstream, 1);
}

/** Sends nothing when a response has begun or the client has gone. */
export function sendProblemIfPossible(request: IncomingMessage, response: ServerResponse, error: DomainError): void {
  if (!response.headersSent && !response.destroyed) sendProblem(response, error, requestIdOf(request));
}

export function upstreamUnavailable({ name }: Pick<Upstream, 'name'>, retryAfter: number): DomainError {
  const message = `The ${name} service is unavailable`;
  return new DomainError('unavailable', 'upstream_unavailable', message, { retryAfter });
}

export function upstreamTimeout({ name }: Pick<Upstream, 'name'>): DomainError {
  return new DomainError('timeout', 'upstream_timeout', `The ${name} service did not answer in time`);
}
