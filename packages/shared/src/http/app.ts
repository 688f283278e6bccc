// The express app that every process starts with, and the handlers that end it: not found, not allowed, error.
import type { IncomingMessage, ServerResponse } from 'node:http';
import express, { type Express } from 'express';
import { DomainError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import { sendInternalError, sendProblem } from './problem.ts';
import { requestIdOf } from './request-log.ts';

/** Maximum size of a request body, in bytes. */
export const maxBodyBytes = 65_536;

/** An express app without `X-Powered-By`, which reveals the software, and without ETags, whose hashes cost CPU time. */
export function createApp(): Express {
  return express().disable('x-powered-by').disable('etag').set('case sensitive routing', true);
}

export function notFoundRoute(): never {
  throw new DomainError('not_found', 'no_such_path', 'Not Found');
}

/** The last handler of a path that supports only GET. Without it express answers OPTIONS by itself. */
export function allowGetOnly(): never {
  throw new DomainError('method_not_allowed', 'method_not_allowed', 'Method Not Allowed', {
    headers: { Allow: 'GET, HEAD' },
  });
}

/**
 * The last handler of an app: answers what the handlers before it threw.
 * @param translate turns an error of a library into a DomainError; an unknown error is logged and answered with 500
 */
export function errorHandler(log: Logger, translate: (error: unknown) => DomainError | undefined = () => undefined) {
  let overloadLoggedAt = Number.NEGATIVE_INFINITY;

  /** Of requests beyond a limit, one a second is logged: their log must not cost more than they do. */
  function logUnavailable(error: DomainError, requestId: string): void {
    if (error.code === 'overloaded') {
      const now = performance.now();
      if (now - overloadLoggedAt < 1_000) return;
      overloadLoggedAt = now;
    }
    log.warn({ request_id: requestId, err: error }, 'answered with 503');
  }

  return (error: unknown, request: IncomingMessage, response: ServerResponse, next: (error: unknown) => void): void => {
    if (response.headersSent) {
      next(error);
      return;
    }
    const requestId = requestIdOf(request);
    const known = error instanceof DomainError ? error : (translateExpressError(error) ?? translate(error));
    if (!known) {
      log.error({ request_id: requestId, err: error }, 'unexpected error');
      sendInternalError(response, requestId);
      return;
    }
    if (known.kind === 'unavailable') logUnavailable(known, requestId);
    sendProblem(response, known, requestId);
  };
}

/** Errors of express and its body parser have a status and a type (https://github.com/expressjs/body-parser#errors). */
function translateExpressError(error: unknown): DomainError | undefined {
  const { status, type } = (typeof error === 'object' && error !== null ? error : {}) as {
    status?: number;
    type?: string;
  };
  if (type === 'entity.parse.failed' || type === 'entity.verify.failed' || type === 'charset.unsupported') {
    return new DomainError('invalid', 'malformed_json', 'The body is not valid JSON in UTF-8', {
      errors: [{ field: 'body', rule: 'must be valid JSON in UTF-8' }],
    });
  }
  if (type === 'entity.too.large') {
    return new DomainError('too_large', 'body_too_large', `The body is larger than ${maxBodyBytes / 1_024} KiB`);
  }
  if (type === 'encoding.unsupported') {
    return new DomainError('unsupported_media_type', 'unsupported_encoding', 'The Content-Encoding is not supported');
  }
  if (status === 400) {
    return new DomainError('bad_request', 'bad_request', 'The path or the body of the request cannot be decoded');
  }
  return undefined;
}
