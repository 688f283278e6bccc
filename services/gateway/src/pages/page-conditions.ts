// Conditions of requests for the gateway's own pages. The pages have no entity tags, so that If-Match is true only as `*`.
// Express answers `If-None-Match: *` with 304.
import { checkTag, readPreconditions } from '@promopulse/shared/http/preconditions';
import type { NextFunction, Request, Response } from 'express';

/** A condition is evaluated only when the answer would be a success (RFC 9110 13.2.1). @throws DomainError (400) */
export function checkPageConditions(request: Request, response: Response, next: NextFunction): void {
  const { match } = readPreconditions(request.headers);
  const rejection = checkTag({ match }, undefined);
  if (rejection) {
    const send = response.send.bind(response);
    response.send = (body) => {
      response.send = send;
      if (response.statusCode >= 300) return send(body);
      response.setHeader('Cache-Control', 'no-store');
      next(rejection);
      return response;
    };
  }
  next();
}
