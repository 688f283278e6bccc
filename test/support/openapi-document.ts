// Reads an OpenAPI document in tests.
import type { Wire } from '@promopulse/testing/client';

interface Operation {
  method: string;
  path: string;
  /** Without references on its first level: parameters, body and responses are those that they lead to. */
  operation: Wire;
}

/** The definition that a reference leads to, or the value itself. */
export function resolveRef(document: Wire, value: Wire): Wire {
  const path = value?.$ref?.split('/').slice(1) as string[] | undefined;
  return path
    ? resolveRef(
        document,
        path.reduce((node, key) => node[key], document),
      )
    : value;
}

/** Every operation, in the order of the document. */
export function operationsOf(document: Wire): Operation[] {
  return Object.entries<Wire>(document.paths).flatMap(([path, item]) =>
    Object.entries<Wire>(item).map(([method, operation]) => {
      const responses = Object.entries<Wire>(operation.responses);
      return {
        method,
        path,
        operation: {
          ...operation,
          parameters: (operation.parameters ?? []).map((each: Wire) => resolveRef(document, each)),
          responses: Object.fromEntries(responses.map(([status, each]) => [status, resolveRef(document, each)])),
        },
      };
    }),
  );
}

/**
 * A copy in which a schema of an object accepts its own properties only. The document leaves responses open, because a
 * later release may add members; a test of this release must notice one that is not described.
 */
export function closeSchemas<Node>(node: Node): Node {
  if (Array.isArray(node)) return node.map(closeSchemas) as Node;
  if (typeof node !== 'object' || node === null) return node;
  const closed = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, closeSchemas(value)]));
  const isObject = 'properties' in closed && 'type' in closed && !('additionalProperties' in closed);
  return (isObject ? { ...closed, additionalProperties: false } : closed) as Node;
}
