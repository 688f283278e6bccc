// Merges the OpenAPI documents of the services into one. The gateway keeps the last part that it could read of each
// service, so that the document stays available while a service is unavailable. Until every service has been read once,
// the document is unavailable, because an incomplete one would be wrong.
import { unavailable } from '@promopulse/shared/errors';
import { fetchPage, ownsPath, type Upstream } from '../proxy/upstreams.ts';

type Json = Record<string, unknown>;
type Group = Record<string, Json>;

interface Part {
  paths: Group;
  /** Kind (`schemas`, `parameters`, …) → name → definition. */
  components: Record<string, Group>;
}

/** The introduction of /docs. The document has no `servers`: a client sends requests to where it got the document. */
const description = `PromoPulse manages promotional campaigns. An operator creates a promotion as a draft, activates it and ends it. Users subscribe to active promotions and can end their subscriptions.

Errors are problem details (RFC 9457): \`detail\` is for people, \`code\` is for programs, and \`errors\` lists each invalid field with the rule that it breaks. A 503 has \`Retry-After\`, unless its code is \`outcome_unknown\`: the change may or may not have been made, so look before you repeat it.`;

const operationNames = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch'];

/**
 * @param cacheMs milliseconds for which a part is not read again
 * @returns a function that resolves to the merged document, or rejects with `unavailable`
 */
export function createDocumentSource(
  upstreams: readonly Upstream[],
  version: string,
  cacheMs = 5_000,
): () => Promise<object> {
  const parts = new Map<string, { part: Part; readAt: number }>();
  const read = async (upstream: Upstream): Promise<Part> => {
    const cached = parts.get(upstream.name);
    if (cached && Date.now() - cached.readAt < cacheMs) return cached.part;
    const answer = await fetchPage(upstream, '/openapi.json');
    if (answer?.status === 200) {
      const part = ownPart(answer.body, upstream);
      parts.set(upstream.name, { part, readAt: Date.now() });
      return part;
    }
    if (cached) return cached.part;
    throw unavailable(`The OpenAPI document of the ${upstream.name} service is not available yet`);
  };
  return async () => mergeParts(await Promise.all(upstreams.map(read)), upstreams, version);
}

function ownPart(document: Json, upstream: Upstream): Part {
  const paths = Object.entries((document.paths ?? {}) as Group).filter(([path]) => ownsPath(upstream, path));
  return { paths: Object.fromEntries(paths), components: (document.components ?? {}) as Record<string, Group> };
}

export function mergeParts(parts: readonly Part[], upstreams: readonly Upstream[], version: string): object {
  const paths: Group = {};
  const components: Record<string, Group> = {};
  for (const [index, part] of parts.entries()) {
    const distinct = renameConflicts(part, components, upstreams[index]?.name ?? String(index));
    Object.assign(paths, distinct.paths);
    for (const [kind, group] of Object.entries(distinct.components)) {
      components[kind] = { ...components[kind], ...group };
    }
  }
  paths['/health'] = healthPath;
  components.schemas = { Problem: problemSchema, ...components.schemas };
  return {
    openapi: '3.1.1',
    info: { title: 'PromoPulse', version, description },
    paths: Object.fromEntries(Object.entries(paths).map(([path, item]) => [path, withGatewayProblems(path, item)])),
    components,
  };
}

/** Renames a component that has the name of a different component of another service. Equal components stay one. */
function renameConflicts(part: Part, taken: Record<string, Group>, prefix: string): Part {
  for (const [kind, group] of Object.entries(part.components)) {
    for (const [name, definition] of Object.entries(group)) {
      const other = taken[kind]?.[name];
      if (other === undefined || JSON.stringify(other) === JSON.stringify(definition)) continue;
      // Components that refer to the renamed one are now different as well: the next call renames them.
      return renameConflicts(renameComponent(part, kind, name, `${prefix}.${name}`), taken, prefix);
    }
  }
  return part;
}

function renameComponent(part: Part, kind: string, from: string, to: string): Part {
  const reference = (name: string) => `"#/components/${kind}/${name}"`;
  const copy = JSON.parse(JSON.stringify(part).replaceAll(reference(from), reference(to))) as Part;
  const { [from]: definition, ...others } = copy.components[kind] as Group;
  copy.components[kind] = { ...others, [to]: definition as Json };
  return copy;
}

function withGatewayProblems(path: string, item: Json): Json {
  if (path === '/health') return item;
  const entries = Object.entries(item).map(([name, operation]) => {
    if (!operationNames.includes(name)) return [name, operation];
    const { responses, ...rest } = operation as { responses?: Json };
    const problems = name === 'get' ? gatewayProblems : { ...gatewayProblems, ...unknownOutcomes };
    return [name, { ...rest, responses: { ...problems, ...responses } }];
  });
  return Object.fromEntries(entries);
}

const problemSchema = {
  type: 'object',
  description: 'RFC 9457 problem details',
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string' },
    request_id: { type: 'string' },
  },
  required: ['type', 'title', 'status', 'detail', 'code', 'request_id'],
};

function problemResponse(description: string, headers: Json = {}): Json {
  return {
    description,
    headers,
    content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
  };
}

const retryAfter = {
  'Retry-After': { description: 'Seconds to wait before the next attempt', schema: { type: 'integer' } },
};
const gatewayProblems: Json = {
  400: problemResponse('Bad Request: the request is malformed'),
  413: problemResponse('Content Too Large: the body is larger than the limit'),
  503: problemResponse('Service Unavailable: the gateway is overloaded, or the service is unavailable', retryAfter),
  504: problemResponse('Gateway Timeout: the service did not answer in time'),
};
const unknown = 'with the code `outcome_unknown`, the change may or may not have been made';
/** Of an operation that changes something. */
const unknownOutcomes: Json = {
  503: problemResponse(
    `Service Unavailable: the gateway is overloaded, or the service is unavailable; ${unknown}, and there is no Retry-After`,
    retryAfter,
  ),
  504: problemResponse(`Gateway Timeout: the service did not answer in time; ${unknown}`),
};

const healthReport = (...statuses: string[]) => ({
  'application/json': {
    schema: {
      type: 'object',
      properties: {
        status: { type: 'string', enum: statuses },
        app: { type: 'string' },
        version: { type: 'string' },
        environment: { type: 'string' },
        services: { type: 'object', additionalProperties: { type: 'object' } },
      },
      required: ['status', 'app', 'version', 'environment', 'services'],
    },
  },
});
const healthPath: Json = {
  get: {
    operationId: 'getHealth',
    summary: 'The gateway and the services behind it',
    tags: ['Gateway'],
    responses: {
      200: {
        description:
          'Every service is ready. It is degraded with dead letters, or when its broker is away or an event waits for more than 30 seconds',
        content: healthReport('ok', 'degraded'),
      },
      503: { description: 'A service is not ready', headers: retryAfter, content: healthReport('degraded') },
    },
  },
};
