// What everyone gets without a credential: pages for people, and for load balancers and browsers. It costs work as well, so
// only the probes of an orchestrator are not counted.
import type { IncomingMessage } from 'node:http';
import { pathOf } from './target.ts';

const freePath = /^\/(?:health(?:\/.*)?|docs(?:\/.*)?|openapi\.json|\.well-known\/oauth-protected-resource)?$/;
const probePath = /^\/health\/(?:live|ready)$/;

/** OPTIONS needs none, too: browsers send it by themselves, and without a credential. */
export function needsNoCredential({ method, url = '' }: IncomingMessage): boolean {
  return method === 'OPTIONS' || freePath.test(pathOf(url));
}

/**
 * An orchestrator that is refused would restart a gateway because it is busy, and a balancer would take it out. HAProxy
 * asks `OPTIONS /` by default, and others `OPTIONS *`. The answers are made from memory.
 */
export function isProbe({ method, url = '' }: IncomingMessage): boolean {
  if (method === 'OPTIONS') return url === '*' || pathOf(url) === '/';
  return (method === 'GET' || method === 'HEAD') && probePath.test(pathOf(url));
}
