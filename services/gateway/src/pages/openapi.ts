// One OpenAPI document out of what the services publish. Each service's part is kept from the last time it could be
// read, so that the page outlives a service that is away; a service never seen yet makes the document unavailable
// rather than incomplete.
import { unavailable } from '@promopulse/shared/errors';
import { ask, isBelow, type Upstream } from '../proxy/upstreams.ts';

type Json = Record<string, unknown>;
type Group = Record<string, Json>;

interface Part {
  paths: Group;
  /** Kind (`schemas`, `parameters`, …) → name → definition. */
  components: Record<string, Group>;
}

/** Shown at the head of /docs. Requests go to where the document came from: no servers are named. */
const description = `Promotional campaigns: an operator drafts a promotion, activates it and ends it; users subscribe to active ones and leave them.

Errors are problem details (RFC 9457): \`detail\` for people, \`code\` for programs, \`errors\` with each field and the rule it breaks. 503 carries \`Retry-After\`.`;

const operationNames = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch'];

/** @returns a function that answers the merged document, or throws `unavailable` */
export function createDocumentSource(
  upstreams: readonly Upstream[],
  version: string,
  cacheMs = 5_000,
): () => Promise<object> {
  const parts = new Map<string, { part: Part; readAt: number }>();
  const read = async (upstream: Upstream): Promise<Part> => {
    const known = parts.get(upstream.name);
    if (known && Date.now() - known.readAt < cacheMs) return known.part;
    const answer = await ask(upstream, '/openapi.json');
    if (answer?.status === 200) {
      const part = ownPart(answer.body, upstream);
      parts.set(upstream.name, { part, readAt: Date.now() });
      return part;
    }
    if (known) return known.part;
    throw unavailable(`The ${upstream.name} service has not published its part of the document yet`);
  };
  return async () => mergeParts(await Promise.all(upstreams.map(read)), upstreams, version);
}

function ownPart(document: Json, upstream: Upstream): Part {
  const paths = Object.entries((document.paths ?? {}) as Group).filter(([path]) => isBelow(upstream, path));
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

/** Two services may mean different things by one name; equal definitions stay one. */
function renameConflicts(part: Part, taken: Record<string, Group>, prefix: string): Part {
  for (const [kind, group] of Object.entries(part.components)) {
    for (const [name, definition] of Object.entries(group)) {
      const other = taken[kind]?.[name];
      if (other === undefined || JSON.stringify(other) === JSON.stringify(definition)) continue;
      // Whatever refers to the renamed one now differs as well, and has its turn in the next round.
      return renameConflicts(renamed(part, kind, name, `${prefix}.${name}`), taken, prefix);
    }
  }
  return part;
}

function renamed(part: Part, kind: string, from: string, to: string): Part {
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
    return [name, { ...rest, responses: { ...gatewayProblems, ...responses } }];
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

const retryAfter = { 'Retry-After': { description: 'Seconds to wait', schema: { type: 'integer' } } };
const gatewayProblems: Json = {
  400: problemResponse('Bad Request: the request is malformed'),
  413: problemResponse('Content Too Large: the body is over the limit'),
  503: problemResponse('Service Unavailable: the service cannot answer right now', retryAfter),
  504: problemResponse('Gateway Timeout: the service did not answer in time; the request may have taken effect'),
};

const healthReport = (status: string) => ({
  'application/json': {
    schema: {
      type: 'object',
      properties: {
        status: { type: 'string', const: status },
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
      200: { description: 'Every service is ready', content: healthReport('ok') },
      503: { description: 'A service is not ready', headers: retryAfter, content: healthReport('degraded') },
    },
  },
};
