// Cross-origin resource sharing (the Fetch standard): the origins whose pages may read answers in a browser. No cookie
// is ever accepted from them: a page must add its credentials itself, as `Authorization`.
import { reachedLimitHeader, unavailableDependencyHeader } from '@promopulse/shared/errors';
import { accessLog } from '@promopulse/shared/http/request-log';
import { methods } from '@promopulse/shared/http/unparsed/parser-faults';
import type { Logger } from '@promopulse/shared/telemetry/logger';
import createCors from 'cors';
import vary from 'vary';
import { z } from 'zod';
import { varyOfAll } from './compression.ts';
import type { Step } from './steps.ts';

/** `*`: every origin. */
export type AllowedOrigins = '*' | readonly string[];

export const corsConfig = {
  /** Separated by commas. */
  CORS_ORIGINS: z.string().default('').transform(parseOrigins),
};

const allowedMethods = methods.filter((method) => method !== 'OPTIONS');
/** Request headers beyond those that every page may send. */
export const allowedHeaders = [
  'Authorization',
  'Cache-Control',
  'Content-Encoding',
  'Content-Type',
  'Idempotency-Key',
  'If-Match',
  'If-None-Match',
  'Prefer',
  'X-Reason',
  'X-Request-Id',
  'traceparent',
  'tracestate',
];
/** Response headers beyond those that every page may read. */
export const exposedHeaders = [
  'Accept',
  'Accept-Encoding',
  'Accept-Patch',
  'Accept-Post',
  'Allow',
  'Content-Encoding',
  'Content-Location',
  'Date',
  'Deprecation',
  'ETag',
  'Idempotent-Replayed',
  'Link',
  'Location',
  'Promopulse-Projection',
  reachedLimitHeader,
  unavailableDependencyHeader,
  'RateLimit',
  'RateLimit-Policy',
  'Retry-After',
  'Sunset',
  'Vary',
  'WWW-Authenticate',
  'X-Request-Id',
];
/** Seconds for which a browser may remember a preflight. Chromium allows no more. */
const maxAge = 7_200;

/**
 * Sets the CORS headers of every answer to an allowed origin, also of an error. An answer to another origin has none, so
 * that its page cannot read it.
 */
export function cors(origins: AllowedOrigins): Step {
  if (origins.length === 0) return (_request, _response, next) => next();
  const allowed = new Set(origins);
  const setHeaders = createCors({
    origin: origins === '*' ? '*' : (origin, done) => done(null, origin !== undefined && allowed.has(origin)),
    methods: allowedMethods,
    allowedHeaders,
    exposedHeaders,
    maxAge,
    // It takes every OPTIONS for a preflight. `answerPreflight` tells them apart, after the request has been checked.
    preflightContinue: true,
  });
  return (request, response, next) => {
    if (origins !== '*') vary(response, 'Origin');
    setHeaders(request, response, next);
  };
}

/** Answers the preflights of allowed origins. Every other OPTIONS is passed on, as without CORS. */
export function answerPreflight(log: Logger): Step {
  const logAccess = accessLog(log, () => '(preflight)');
  return (request, response, next) => {
    const { method, headers } = request;
    const isPreflight = method === 'OPTIONS' && headers.origin && headers['access-control-request-method'];
    if (!isPreflight || !response.hasHeader('Access-Control-Allow-Origin')) {
      next();
      return;
    }
    logAccess(request, response);
    response.writeHead(204).end();
  };
}

/**
 * The CORS headers, and `Vary`, of an answer that no step has seen, because its request was never complete.
 * @param origin as far as it has arrived
 */
export function unparsedCorsHeaders(origins: AllowedOrigins, origin: string | undefined): Record<string, string> {
  const isAllowed = origins === '*' || (origin !== undefined && origins.includes(origin));
  return {
    Vary: origins !== '*' && origins.length > 0 ? `${varyOfAll}, Origin` : varyOfAll,
    ...(isAllowed && {
      'Access-Control-Allow-Origin': origins === '*' ? '*' : String(origin),
      'Access-Control-Expose-Headers': exposedHeaders.join(','),
    }),
  };
}

function parseOrigins(text: string, context: z.RefinementCtx): AllowedOrigins {
  const entries = text.split(',').map((entry) => entry.trim());
  if (text === '' || text === '*') return text === '*' ? '*' : [];
  return entries.flatMap((entry) => {
    const origin = parseOrigin(entry);
    if (origin === undefined) context.addIssue(explain(entry));
    return origin ?? [];
  });
}

const originForm = /^(?!file:)[a-z][a-z0-9+.-]*:\/\/[^\s/?#@*\\]+$/i;

/** As a browser writes it: in lower case and ASCII, without the default port. */
function parseOrigin(text: string): string | undefined {
  if (!originForm.test(text) || !URL.canParse(text)) return undefined;
  const { origin, protocol, host } = new URL(text);
  return origin === 'null' ? `${protocol}//${host}` : origin; // a scheme of an app, such as capacitor://localhost
}

function explain(entry: string): string {
  if (entry === '*') return '* allows every origin, and must stand alone';
  const shown = entry.includes('@') ? 'an entry with credentials' : JSON.stringify(entry);
  return `${shown} is not an origin, which is scheme://host or scheme://host:port without a path, such as https://app.example.com`;
}
