// The express app that every process starts from, and its last step, which answers errors.
import type { IncomingMessage, ServerResponse } from 'node:http';
import express, { type Express } from 'express';
import { DomainError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import { problem, sendDocument, sendProblem } from './problem.ts';
import { requestIdOf } from './request-log.ts';

/**
 * Last in the chain. `translate` may turn what a library threw into a DomainError; what stays unknown is logged
 * and answered as a bare 500.
 */
export function errorHandler(log: Logger, translate: (error: unknown) => DomainError | undefined = () => undefined) {
  return (error: unknown, request: IncomingMessage, response: ServerResponse, next: (error: unknown) => void): void => {
    const requestId = requestIdOf(request);
    const known = error instanceof DomainError ? error : (translateHttpError(error) ?? translate(error));
    if (response.headersSent) {
      next(error);
      return;
    }
    if (known) {
      if (known.kind === 'unavailable') log.warn({ request_id: requestId, err: known }, 'answered as unavailable');
      sendProblem(response, known, requestId);
      return;
    }
    log.error({ request_id: requestId, err: error }, 'unexpected error');
    sendDocument(
      response,
      500,
      problem(500, 'The server failed. Report the request_id.', requestId, { code: 'internal_error' }),
    );
  };
}

/** Errors that express and its body parser throw carry a status and a type (https://github.com/expressjs/body-parser#errors). */
function translateHttpError(error: unknown): DomainError | undefined {
  const { status, type } = (typeof error === 'object' && error !== null ? error : {}) as {
    status?: number;
    type?: string;
  };
  if (type === 'entity.parse.failed' || type === 'entity.verify.failed' || type === 'charset.unsupported') {
    return new DomainError('invalid', 'malformed_json', 'The body is not valid JSON in UTF-8', {
      errors: [{ field: 'body', rule: 'must be valid JSON in UTF-8' }],
    });
  }
  if (type === 'entity.too.large')
    return new DomainError('too_large', 'body_too_large', 'The body is larger than 64 KiB');
  if (type === 'encoding.unsupported') {
    return new DomainError('unsupported_media_type', 'unsupported_encoding', 'The Content-Encoding is not supported');
  }
  if (status === 400) return new DomainError('bad_request', 'bad_request', 'The request could not be read');
  return undefined;
}

/** An express app without the defaults that cost or tell something (etag hashing, X-Powered-By). */
export function createApp(): Express {
  return express().disable('x-powered-by').disable('etag').set('case sensitive routing', true);
}

export function notFoundRoute(): never {
  throw new DomainError('not_found', 'no_such_path', 'Not Found');
}

/** Ends the chain of a path that can only be read; without it express answers OPTIONS by itself. */
export function allowGetOnly(): never {
  throw new DomainError('method_not_allowed', 'method_not_allowed', 'Method Not Allowed', {
    headers: { Allow: 'GET, HEAD' },
  });
}
