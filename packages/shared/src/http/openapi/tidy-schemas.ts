// Makes the schemas that zod writes simpler, without another meaning.

type Json = Record<string, unknown>;

/** What is under these keys is data, not a schema. */
const dataKeys = new Set(['example', 'examples', 'default', 'enum', 'const', 'value']);
const textKeywords = ['pattern', 'minLength', 'maxLength', 'format'];
const maxInt32 = 2_147_483_647;

/** @returns a copy of the document, or of a part of it, with simpler schemas */
export function tidySchemas<Node>(node: Node): Node {
  if (Array.isArray(node)) return node.map((each) => tidySchemas(each)) as Node;
  if (!isObject(node)) return node;
  const entries = Object.entries(node).map(([key, value]) => {
    if (dataKeys.has(key)) return [key, value];
    // The keys of these are names, whatever they are.
    const isMap = key === 'properties' && isObject(value);
    return [key, isMap ? mapValues(value, tidySchemas) : tidySchemas(value)];
  });
  return tidyParameter(tidySchema(Object.fromEntries(entries))) as Node;
}

/** What is said of a parameter stands at the parameter alone. */
function tidyParameter(node: Json): Json {
  if (typeof node.in !== 'string' || !isObject(node.schema)) return node;
  const { description = node.description, ...schema } = node.schema;
  return { ...node, ...(description !== undefined && { description }), schema };
}

function tidySchema(schema: Json): Json {
  const tidied = withoutForbiddenProperties(nullableType(withoutVacuousNames(schema)));
  if (isOfType(tidied, 'integer')) return tidyInteger(tidied);
  if (isOfType(tidied, 'boolean')) return without(tidied, textKeywords);
  // The format says the same as zod's expression of 256 characters.
  return tidied.format === 'date-time' ? without(tidied, ['pattern']) : tidied;
}

/** "Either this or null" as a list of two types, which generators of clients understand better. */
function nullableType(schema: Json): Json {
  const { anyOf, ...rest } = schema;
  const [one, other, ...more] = Array.isArray(anyOf) ? (anyOf as Json[]) : [];
  if (typeof one?.type !== 'string' || other?.type !== 'null' || more.length > 0) return schema;
  return { ...one, ...rest, type: [one.type, 'null'], ...(Array.isArray(one.enum) && { enum: [...one.enum, null] }) };
}

/** Every name of a property is text. */
function withoutVacuousNames(schema: Json): Json {
  return JSON.stringify(schema.propertyNames) === '{"type":"string"}' ? without(schema, ['propertyNames']) : schema;
}

/** A property that no value is valid for is not shown: where no other is accepted either, that says the same. */
function withoutForbiddenProperties(schema: Json): Json {
  const { properties, additionalProperties } = schema;
  if (!isObject(properties) || additionalProperties !== false) return schema;
  const kept = Object.entries(properties).filter(([, value]) => JSON.stringify((value as Json).not) !== '{}');
  return { ...schema, properties: Object.fromEntries(kept) };
}

/** Bounds are inclusive, as in OpenAPI 3.0, and the format tells generators how many bits they need. */
function tidyInteger(schema: Json): Json {
  const { exclusiveMinimum, exclusiveMaximum, ...rest } = without(schema, textKeywords);
  const bounds = {
    minimum: typeof exclusiveMinimum === 'number' ? exclusiveMinimum + 1 : rest.minimum,
    maximum: typeof exclusiveMaximum === 'number' ? exclusiveMaximum - 1 : rest.maximum,
  };
  const fits = Number(bounds.minimum) >= -maxInt32 - 1 && Number(bounds.maximum) <= maxInt32;
  return { ...rest, format: fits ? 'int32' : 'int64', ...bounds };
}

function isOfType({ type }: Json, name: string): boolean {
  return type === name || (Array.isArray(type) && type.includes(name));
}

function without(schema: Json, keywords: readonly string[]): Json {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => !keywords.includes(key)));
}

function mapValues(object: Json, map: (value: unknown) => unknown): Json {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value)]));
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
