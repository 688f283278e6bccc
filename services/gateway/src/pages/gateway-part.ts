// The gateway's own parts of the OpenAPI document: API keys, `/health`, and the errors that it adds to every operation.
import {
  type DomainError,
  idsExhausted,
  malformedIdempotencyKey,
  outcomeUnknown,
  overloaded,
  unavailable,
} from '@promopulse/shared/errors';
import { maxBodyBytes, undecodableBody, unsupportedEncoding } from '@promopulse/shared/http/input/read-body';
import { type DescribedRoute, describeApi } from '@promopulse/shared/http/openapi/document';
import { examplesOf, problemResponse } from '@promopulse/shared/http/openapi/problem-responses';
import { exampleRequestId } from '@promopulse/shared/http/openapi/problem-schema';
import { checkTag, readPreconditions } from '@promopulse/shared/http/preconditions';
import { internalProblemOf, problem } from '@promopulse/shared/http/problem';
import { z } from 'zod';
import { credentialInTarget } from '../callers/challenge.ts';
import { keyRoutes } from '../callers/key-routes.ts';
import { tooLarge } from '../proxy/body.ts';
import { upstreamTimeout, upstreamUnavailable } from '../proxy/unanswered.ts';
import { policyField, quotaExceeded } from '../rate-limit/quota-fields.ts';
import { otherErrors, targetFault, unparsedProblem } from './other-errors.ts';

type Responses = Readonly<Record<string, object>>;

const serviceReport = z
  .looseObject({
    status: z
      .enum(['ok', 'degraded', 'not_ready', 'unreachable'])
      .meta({ description: 'A degraded service is ready too: the reasons are beside it.' }),
    breaker: z
      .enum(['closed', 'open', 'half_open'])
      .meta({ description: "The gateway's circuit breaker for the service; open: requests are rejected at once." }),
  })
  .meta({ id: 'ServiceReport', description: 'The health of a service. A service adds members of its own.' });

const health = z
  .object({
    status: z.enum(['ok', 'degraded']).meta({ description: 'Of all services together.' }),
    app: z.string().meta({ description: 'The name of the product.' }),
    version: z.string().meta({ description: 'The version of the gateway.' }),
    environment: z.string().meta({ description: 'As configured: `production`, for example.' }),
    services: z.record(z.string(), serviceReport).meta({ description: 'Name of the service → its health.' }),
  })
  .meta({ id: 'Health', description: 'The health of the gateway and of the services behind it.' });

const exampleHealth = (version: string, status: 'ok' | 'degraded', users: object) => ({
  status,
  app: 'PromoPulse',
  version,
  environment: 'production',
  services: { users: { breaker: 'closed', version, ...users } },
});

/** @returns the document of the routes of API keys */
export function describeKeys(version: string): object {
  return describeApi(keyRoutes(undefined), {
    title: 'Keys',
    version,
    description: 'API keys, by which programs say who they are. The gateway keeps them, and no service sees them.',
  });
}

/** @returns the document of the gateway alone */
export function describeGateway(version: string): object {
  const route: DescribedRoute = {
    method: 'get',
    path: '/health',
    access: 'anyone',
    operationId: 'getHealth',
    summary: 'The gateway and the services behind it',
    description:
      'Asks every service. Every service is ready when it answers 200. `degraded` with 200: a service has dead letters, its broker is away, or an event waits for more than 30 seconds. With 503 a service is not ready.',
    success: {
      status: 200,
      description: 'Every service is ready',
      schema: health,
      example: exampleHealth(version, 'ok', { status: 'ok' }),
    },
    errors: {},
  };
  const document = describeApi([route], {
    title: 'Gateway',
    version,
    description: 'The single entry point itself, not one of the services behind it.',
  });
  return addNotReady(document, exampleHealth(version, 'degraded', { status: 'not_ready' }));
}

/** The 503 of `/health` is a report too, or a problem when the gateway is overloaded. */
function addNotReady(document: object, example: object): object {
  const { paths, ...rest } = document as { paths: { '/health': { get: { responses: Record<string, object> } } } };
  const { get } = paths['/health'];
  const { content, ...response } = unavailableResponse as { content: object };
  const report = { schema: { $ref: '#/components/schemas/Health' }, example };
  const notReady = {
    ...response,
    description: 'Service Unavailable: a service is not ready, or the gateway is overloaded',
    content: { 'application/json': report, ...content },
  };
  const refs = { 400: refTo('BadRequest'), 429: refTo('TooManyRequests'), 500: refTo('InternalServerError') };
  const responses = { ...refs, ...get.responses, 503: notReady, default: refTo('Other') };
  return { ...rest, paths: { '/health': { get: { ...get, responses } } } };
}

const exampleUpstream = { name: 'promotions' };
const conditionFailed = checkTag(readPreconditions({ 'if-match': '"1"' }), '"2"') as DomainError;
const malformedProblems = [targetFault('/users%2f1'), credentialInTarget('https://api.example.com')];
const burst = { name: 'burst', quota: 100, windowSeconds: 1 };
const quotaUsedUp = quotaExceeded(
  { limits: [{ policy: burst, remaining: 0, moreAfterSeconds: 1 }], retryAfterSeconds: 1 },
  policyField([burst]),
);
/** Not of this gateway. */
const rateLimited = problem(429, 'Too many requests. Retry after the time in Retry-After.', exampleRequestId, {
  code: 'rate_limited',
});
const mayBeRetried = [
  upstreamUnavailable(exampleUpstream, 1),
  overloaded('deep_offset'),
  unavailable('The database is unavailable. Retry after the time in Retry-After.'),
];
const outcome = 'with the code `outcome_unknown` the change may or may not have been made, and there is no Retry-After';

const unavailableResponse = problemResponse(
  503,
  'the gateway is overloaded, or the service is unavailable',
  examplesOf(mayBeRetried),
);

/** Name in `components/responses` → the response. */
export const gatewayResponses = {
  BadRequest: problemResponse(400, 'the request is malformed', examplesOf(malformedProblems)),
  ChangeBadRequest: problemResponse(
    400,
    'the request or its `Idempotency-Key` is malformed',
    examplesOf([...malformedProblems, malformedIdempotencyKey(), undecodableBody('gzip')]),
  ),
  ContentTooLarge: problemResponse(
    413,
    `the body is larger than ${maxBodyBytes} bytes, or its chunk extensions are too large`,
    [...examplesOf([tooLarge(maxBodyBytes)]), unparsedProblem('HPE_CHUNK_EXTENSIONS_OVERFLOW')],
  ),
  PreconditionFailed: problemResponse(
    412,
    'the condition in `If-Match` or `If-None-Match` is false; nothing was changed',
    examplesOf([conditionFailed]),
  ),
  UnsupportedMediaType: problemResponse(
    415,
    'the `Content-Encoding` of the body is not supported; `Accept-Encoding` lists those that are',
    examplesOf([unsupportedEncoding()]),
  ),
  TooManyRequests: problemResponse(
    429,
    'the caller has used up its quota, and nothing was done; `rate_limited` may come from a proxy in front',
    [...examplesOf([quotaUsedUp]), rateLimited],
  ),
  InternalServerError: problemResponse(500, 'an error in PromoPulse; report it with the `request_id`', [
    internalProblemOf(exampleRequestId),
  ]),
  ReadUnavailable: unavailableResponse,
  ReadTimeout: problemResponse(
    504,
    'the service did not answer in time',
    examplesOf([upstreamTimeout(exampleUpstream)]),
  ),
  ChangeUnavailable: problemResponse(
    503,
    `the gateway is overloaded, or the service is unavailable; ${outcome}`,
    examplesOf([...mayBeRetried, idsExhausted(), outcomeUnknown()]),
  ),
  ChangeTimeout: problemResponse(
    504,
    `the service did not answer in time; ${outcome}`,
    examplesOf([outcomeUnknown(undefined, 'timeout')]),
  ),
  Other: otherErrors,
};

type ResponseName = keyof typeof gatewayResponses;

/** Status → the response that the gateway adds to every operation of a service. */
const toEvery = {
  400: 'BadRequest',
  412: 'PreconditionFailed',
  413: 'ContentTooLarge',
  415: 'UnsupportedMediaType',
  429: 'TooManyRequests',
  500: 'InternalServerError',
  default: 'Other',
} as const satisfies Record<number | 'default', ResponseName>;
const toReads = { ...toEvery, 503: 'ReadUnavailable', 504: 'ReadTimeout' } as const;
const toChanges = { ...toEvery, 400: 'ChangeBadRequest', 503: 'ChangeUnavailable', 504: 'ChangeTimeout' } as const;

/** The responses of an operation of a service: its own, and those that the gateway adds. */
export function withGatewayResponses(method: string, responses: Responses): Responses {
  const added = Object.entries(method === 'get' ? toReads : toChanges).map(([status, name]) => {
    const ofService = responses[status] as Response | undefined;
    return [status, ofService ? withExamples(ofService, gatewayResponses[name] as Response) : refTo(name)];
  });
  return { ...responses, ...Object.fromEntries(added) };
}

interface Response {
  content?: { [type: string]: { examples?: object } };
}

/** The service says what the status means there. The gateway sends it for reasons of its own too. */
function withExamples(response: Response, { content: more = {} }: Response): object {
  const content = Object.entries(response.content ?? {}).map(([type, media]) => {
    const examples = { ...more[type]?.examples, ...media.examples };
    return [type, { ...media, examples }];
  });
  return { ...response, content: Object.fromEntries(content) };
}

function refTo(name: ResponseName): object {
  return { $ref: `#/components/responses/${name}` };
}
