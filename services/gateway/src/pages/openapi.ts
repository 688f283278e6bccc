// Merges the OpenAPI documents of the services into one. The gateway keeps the last part that it could read of each
// service, so that the document stays available while a service is unavailable. Until every service has been read once,
// the document is unavailable, because an incomplete one would be wrong.
import { isDeepStrictEqual } from 'node:util';
import { unavailable } from '@promopulse/shared/errors';
import { RecentMap } from '@promopulse/shared/values/recent-map';
import { staticBody } from '../edge/static-bodies.ts';
import { fetchPage, ownsPath, type Upstream } from '../proxy/upstreams.ts';
import { describeGateway, describeKeys, gatewayResponses, withGatewayResponses } from './gateway-part.ts';
import { shareComponents } from './share-components.ts';

type Json = Record<string, unknown>;
type Group = Record<string, Json>;

interface Part {
  tags: readonly Json[];
  paths: Group;
  /** Kind (`schemas`, `parameters`, …) → name → definition. */
  components: Record<string, Group>;
}

interface DocumentOptions {
  version: string;
  /** Where callers reach the gateway, when that is not where they got the document: PUBLIC_URL. */
  publicUrl?: string | undefined;
  /** Milliseconds for which a part is not read again. */
  cacheMs?: number;
}

const description = `PromoPulse manages promotional campaigns. An operator creates a promotion as a draft, activates it and ends it. Users subscribe to active promotions and can end their subscriptions. What they do with a promotion is counted: views, clicks and redemptions.

Errors are problem details (RFC 9457): \`detail\` is for people, \`code\` is for programs, and \`errors\` lists each invalid field with the rule that it breaks. A 503 has \`Retry-After\`, unless its code is \`outcome_unknown\`: the change may or may not have been made, so look before you repeat it. A change that was sent with an \`Idempotency-Key\` can be repeated in any case, with the same key: it is made once. Events have ids of their own, and need no key.

Every response has an \`X-Request-Id\`. A client may send its own: 1 to 128 characters of \`A-Z a-z 0-9 . _ : -\`. Ids are integers from 1 to 2^53 − 1, which a number in JSON holds exactly. An unknown field or parameter is refused.

An installation with \`AUTH=required\` wants a credential with each operation that names a scope: \`Authorization: Bearer\` and an API key, or an access token of its identity provider. An end user, whose token is mapped to a user, has no scopes and reaches what is their own. With \`AUTH=off\`, the default of a development installation, none is needed and none is read.`;

const operationNames = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch'];

/** @returns a function that resolves to the merged document, or rejects with `unavailable` */
export function createDocumentSource(
  upstreams: readonly Upstream[],
  { cacheMs = 5_000, ...options }: DocumentOptions,
): () => Promise<object> {
  const parts = new Map<string, { part: Part; readAt: number }>();
  const reading = new Map<string, Promise<Part>>();
  /** Concurrent callers share one request to the service. */
  const read = (upstream: Upstream): Part | Promise<Part> => {
    const cached = parts.get(upstream.name);
    if (cached && Date.now() - cached.readAt < cacheMs) return cached.part;
    const pending = reading.get(upstream.name) ?? readNow(upstream, cached?.part);
    reading.set(upstream.name, pending);
    return pending;
  };
  const readNow = async (upstream: Upstream, lastPart: Part | undefined): Promise<Part> => {
    const answer = await fetchPage(upstream, '/openapi.json');
    reading.delete(upstream.name);
    if (answer?.status === 200) {
      const read = partOf(answer.body, upstream);
      // While nothing has changed, the document and its compressed bytes are not made again.
      const part = lastPart && isDeepStrictEqual(read, lastPart) ? lastPart : read;
      parts.set(upstream.name, { part, readAt: Date.now() });
      return part;
    }
    if (lastPart) return lastPart;
    throw unavailable(`The OpenAPI document of the ${upstream.name} service is not available yet`);
  };
  let last: { parts: readonly Part[]; document: object } | undefined;
  return async () => {
    const current = await Promise.all(upstreams.map(read));
    if (!last || current.some((part, index) => part !== last?.parts[index])) {
      last = { parts: current, document: mergeParts(current, upstreams, options) };
    }
    return last.document;
  };
}

/** A trusted proxy says which prefix it has removed. There are few, and more are not kept. */
export const maxPrefixes = 16;

/**
 * @returns the bytes of the document as the client of a request gets it, made once for each prefix
 * @param root the path of `/` as the client must write it: a proxy may have removed a prefix
 */
export function createDocumentBodies(publicUrl: string | undefined): (document: object, root: string) => Buffer {
  const ofDocuments = new WeakMap<object, RecentMap<string, Buffer>>();
  return (document, root) => {
    const bodies = ofDocuments.get(document) ?? new RecentMap(maxPrefixes);
    ofDocuments.set(document, bodies);
    return bodies.getOrInsertComputed(root, () => staticBody(JSON.stringify(withServer(document, root, publicUrl))));
  };
}

function withServer(document: object, root: string, publicUrl: string | undefined): object {
  if (publicUrl !== undefined || root === '/') return document;
  return { ...document, servers: [serverAt(root.replace(/\/$/, ''))] };
}

function serverAt(url: string): Json {
  return { url, description: 'Where the document is' };
}

export function partOf(document: Json, upstream: Upstream): Part {
  const paths = Object.entries((document.paths ?? {}) as Group).filter(([path]) => ownsPath(upstream, path));
  return {
    tags: Array.isArray(document.tags) ? document.tags : [],
    paths: Object.fromEntries(paths),
    components: (document.components ?? {}) as Record<string, Group>,
  };
}

export function mergeParts(
  parts: readonly Part[],
  upstreams: readonly Upstream[],
  { version, publicUrl }: Pick<DocumentOptions, 'version' | 'publicUrl'>,
): object {
  const own = describeGateway(version) as Part;
  const paths: Group = {};
  const components: Record<string, Group> = { ...own.components, responses: { ...gatewayResponses } };
  const withKeys = [...parts, describeKeys(version) as Part];
  for (const [index, part] of withKeys.entries()) {
    const distinct = renameConflicts(part, components, upstreams[index]?.name ?? String(index));
    for (const [path, item] of Object.entries(distinct.paths)) paths[path] = withGatewayProblems(item);
    for (const [kind, group] of Object.entries(distinct.components)) {
      components[kind] = { ...components[kind], ...group };
    }
  }
  return shareComponents({
    openapi: '3.1.1',
    info: {
      title: 'PromoPulse',
      version,
      description,
      contact: { name: 'The maintainers of PromoPulse' },
      license: { name: 'MIT', url: 'https://opensource.org/license/mit' },
    },
    servers: [publicUrl ? { url: publicUrl.replace(/\/$/, '') } : serverAt('/')],
    security: [], // an operation that needs a scope says so itself
    tags: [...withKeys.flatMap(({ tags }) => tags), ...own.tags],
    paths: { ...paths, ...own.paths },
    components,
  });
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

function withGatewayProblems(item: Json): Json {
  const entries = Object.entries(item).map(([name, operation]) => {
    if (!operationNames.includes(name)) return [name, operation];
    const { responses = {}, ...rest } = operation as { responses?: Group };
    return [name, { ...rest, responses: withGatewayResponses(name, responses) }];
  });
  return Object.fromEntries(entries);
}
