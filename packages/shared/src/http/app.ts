// The express app that every process starts with, and the handlers that end it: not found, not allowed, error.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parse as parseQuery } from 'node:querystring';
import express, { type Express } from 'express';
import { DomainError } from '../errors.ts';
import { summarizeError } from '../telemetry/describe-error.ts';
import type { Logger } from '../telemetry/logger.ts';
import { RepeatedLog } from '../telemetry/repeated-log.ts';
import { maxBodyBytes } from './input/read-body.ts';
import { sendInternalError, sendProblem } from './problem.ts';
import { expressRouteOf, loggedRequest, requestIdOf } from './request-log.ts';

/** An express app without `X-Powered-By`, which reveals the software, and without ETags, whose hashes cost CPU time. */
export function createApp(): Express {
  return express()
    .disable('x-powered-by')
    .disable('etag')
    .set('case sensitive routing', true)
    .set('query parser', parseWholeQuery);
}

/** By default Node ignores what follows the first 1,000 parts, of which an empty one is one too. */
function parseWholeQuery(query: string) {
  return parseQuery(query, '&', '=', { maxKeys: 0 });
}

export function notFoundRoute(): never {
  throw new DomainError('not_found', 'no_such_path', 'There is no such path. /openapi.json lists all paths.');
}

/** The last handler of a path that supports only GET. Without it express answers OPTIONS by itself. */
export function allowGetOnly(): never {
  throw methodNotAllowed('GET, HEAD');
}

/** @param allow the methods of the path, separated by commas */
export function methodNotAllowed(allow: string, target = 'This path'): DomainError {
  return new DomainError('method_not_allowed', 'method_not_allowed', `${target} supports only ${allow}`, {
    headers: { Allow: allow },
  });
}

/**
 * The last handler of an app: answers what the handlers before it threw.
 * @param translate turns an error of a library into a DomainError; an unknown error is logged and answered with 500
 */
export function errorHandler(log: Logger, translate: (error: unknown) => DomainError | undefined = () => undefined) {
  const unavailable = new RepeatedLog(log, 'answered with 503', 1_000);

  function logUnavailable(error: DomainError, fields: object): void {
    const cause = `${error.code} ${error.message} ${JSON.stringify(summarizeError(error.cause))}`;
    unavailable.add(cause, { ...fields, err: error });
  }

  return (error: unknown, request: IncomingMessage, response: ServerResponse, next: (error: unknown) => void): void => {
    if (response.headersSent) {
      next(error);
      return;
    }
    const requestId = requestIdOf(request);
    const known = error instanceof DomainError ? error : (translateExpressError(error) ?? translate(error));
    if (!known) {
      log.error({ ...fieldsOf(request), err: error }, 'unexpected error');
      sendInternalError(response, requestId);
      return;
    }
    if (known.kind === 'unavailable') logUnavailable(known, fieldsOf(request));
    sendProblem(response, known, requestId);
  };
}

/** The gateway has a route of its own for what it forwards: its access log has it. */
function fieldsOf(request: IncomingMessage): object {
  const route = expressRouteOf(request);
  return { ...loggedRequest(request), ...(route !== undefined && { route }) };
}

/** Errors of express and its body parser have a status and a type (https://github.com/expressjs/body-parser#errors). */
function translateExpressError(error: unknown): DomainError | undefined {
  const { status, type } = (typeof error === 'object' && error !== null ? error : {}) as {
    status?: number;
    type?: string;
  };
  if (type === 'entity.too.large') {
    return new DomainError('too_large', 'body_too_large', `The body is larger than ${maxBodyBytes / 1_024} KiB`);
  }
  if (error instanceof URIError) {
    return new DomainError('bad_request', 'bad_request', 'The path is not valid percent-encoded UTF-8');
  }
  if (status === 400) {
    return new DomainError('bad_request', 'bad_request', 'The body has not been received as a whole');
  }
  return undefined;
}
