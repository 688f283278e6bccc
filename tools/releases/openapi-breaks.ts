// What of a new OpenAPI document breaks the clients of an old one. It is strict: this server refuses unknown parameters and
// fields, so removing one breaks whoever sends it. A client must accept further members of a response.
import { compareSchemas } from './schema-breaks.ts';

// biome-ignore lint/suspicious/noExplicitAny: a document may have any shape
type Json = any;

const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];

/** @returns one sentence for each break, each once, in the order of the old document */
export function listBreaks(before: Json, after: Json): string[] {
  const breaks = Object.entries<Json>(before.paths).flatMap(([path, item]) =>
    methods.flatMap((method) => {
      const operation = item[method];
      if (!operation) return [];
      const name = `${method.toUpperCase()} ${path}`;
      const now = after.paths[path]?.[method];
      if (!now) return [`${name} is gone`];
      const context: OperationContext = {
        name,
        before: { document: before, item, operation },
        after: { document: after, item: after.paths[path], operation: now },
      };
      return [...brokenParameters(context), ...brokenBody(context), ...brokenResponses(context)];
    }),
  );
  return [...new Set(breaks)];
}

interface Side {
  document: Json;
  item: Json;
  operation: Json;
}

interface OperationContext {
  name: string;
  before: Side;
  after: Side;
}

function brokenParameters({ name, before, after }: OperationContext): string[] {
  const [old, now] = [parametersOf(before), parametersOf(after)];
  const changed = [...old].flatMap(([key, parameter]) => {
    const current = now.get(key);
    if (!current) return [`${name}: the parameter ${key} is gone`];
    return [
      ...when(current.required && !parameter.required, `${name}: the parameter ${key} has become required`),
      ...compareSchemas(
        { schema: parameter.schema, document: before.document },
        { schema: current.schema, document: after.document },
        { direction: 'request', place: `${name}: the parameter ${key}` },
      ),
    ];
  });
  const added = [...now].flatMap(([key, { required }]) =>
    when(required && !old.has(key), `${name}: the new parameter ${key} is required`),
  );
  return [...changed, ...added];
}

function parametersOf({ document, item, operation }: Side): Map<string, Json> {
  const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map((each) => deref(each, document));
  return new Map(parameters.map((parameter) => [`${parameter.in} ${parameter.name}`, parameter]));
}

function brokenBody({ name, before, after }: OperationContext): string[] {
  const old = deref(before.operation.requestBody, before.document);
  const now = deref(after.operation.requestBody, after.document);
  if (!old) return when(now?.required, `${name}: a body has become required`);
  if (!now) return [`${name}: the body is gone`];
  return [
    ...when(now.required && !old.required, `${name}: the body has become required`),
    ...Object.entries<Json>(old.content).flatMap(([type, { schema }]) => {
      const current = now.content[type];
      if (!current) return [`${name}: the body is not accepted as ${type} any more`];
      return compareSchemas(
        { schema, document: before.document },
        { schema: current.schema, document: after.document },
        { direction: 'request', place: `${name}: the body` },
      );
    }),
  ];
}

function brokenResponses({ name, before, after }: OperationContext): string[] {
  return Object.entries<Json>(before.operation.responses).flatMap(([status, entry]) => {
    const old = deref(entry, before.document);
    const now = deref(after.operation.responses[status], after.document);
    if (!now) return when(Number(status) < 400, `${name}: the response ${status} is gone`);
    const place = `${name}: the response ${status}`;
    return [
      ...Object.keys(old.headers ?? {}).flatMap((header) =>
        when(!now.headers?.[header], `${place} has no header ${header} any more`),
      ),
      ...Object.entries<Json>(old.content ?? {}).flatMap(([type, { schema }]) => {
        const current = now.content?.[type];
        if (!current) return [`${place} is not ${type} any more`];
        return compareSchemas(
          { schema, document: before.document },
          { schema: current.schema, document: after.document },
          { direction: 'response', place },
        );
      }),
    ];
  });
}

function deref(value: Json, document: Json): Json {
  const path = value?.$ref?.split('/').slice(1) as string[] | undefined;
  return path ? path.reduce((node, key) => node[key], document) : value;
}

function when(broken: boolean | undefined, message: string): string[] {
  return broken ? [message] : [];
}
