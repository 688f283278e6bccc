// Errors that belong to no operation: of a path or a method that is not there, and of a request that is refused by its
// head alone. In the OpenAPI document they are the `default` response of every operation.
import { DomainError } from '@promopulse/shared/errors';
import { allowGetOnly, notFoundRoute } from '@promopulse/shared/http/app';
import { maxBodyBytes } from '@promopulse/shared/http/input/read-body';
import { examplesOf, namedHeader, problemsResponse } from '@promopulse/shared/http/openapi/problem-responses';
import { exampleRequestId } from '@promopulse/shared/http/openapi/problem-schema';
import { type Problem, problem } from '@promopulse/shared/http/problem';
import { describeParserError, type ParserError } from '@promopulse/shared/http/unparsed/parser-faults';
import { unknownExpectation } from '../edge/sanitize.ts';
import { findTargetFault, type RequestTarget } from '../edge/target.ts';
import { maxHeaderBytes } from '../edge/unparsed.ts';

/** The defaults of HEADERS_TIMEOUT_MS and REQUEST_TIMEOUT_MS. */
const limits = { headersTimeout: 5_000, requestTimeout: 10_000, maxHeaderBytes, maxBodyBytes };

/** What is answered to bytes that the parser rejects with this code. */
export function unparsedProblem(code: string): Problem {
  const [status, name, detail] = describeParserError({ code } as ParserError, limits);
  return problem(status, detail, exampleRequestId, { code: name });
}

/** What is answered to a GET of a target that is not accepted. */
export function targetFault(url: RequestTarget['url']): DomainError {
  return findTargetFault({ url, method: 'GET' }) as DomainError;
}

function thrownBy(handler: () => never): DomainError {
  try {
    return handler();
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
}

export const otherErrors = problemsResponse(
  'Any other error, which no operation has of its own: 404 or 405 for a path or a method that is not there, 408 when the request arrives too slowly, 417 for an unknown `Expect`, 421 for an `https` URL on a connection without TLS, 431 when the headers are too large',
  [
    ...examplesOf([
      thrownBy(notFoundRoute),
      thrownBy(allowGetOnly),
      unknownExpectation(),
      targetFault('https://api.example.com/users'),
    ]),
    unparsedProblem('ERR_HTTP_REQUEST_TIMEOUT'),
    unparsedProblem('HPE_HEADER_OVERFLOW'),
  ],
  namedHeader('Allow'),
);
