// What of a new schema breaks those that rely on the old one. In a request, all that was accepted must be accepted. In a
// response, all that may come must be what a client expects.

// biome-ignore lint/suspicious/noExplicitAny: a schema may have any shape
type Json = any;

interface SchemaIn {
  schema: Json;
  document: Json;
}

interface Options {
  direction: 'request' | 'response';
  /** Where the schema stands, for people. A named schema replaces it, so that its breaks are listed once. */
  place: string;
  /** The pairs that are being compared: a schema may contain itself. */
  seen?: ReadonlySet<string>;
}

export function compareSchemas(before: SchemaIn, after: SchemaIn, options: Options): string[] {
  const old = resolve(before);
  const now = resolve(after);
  const pair = `${old.name} ${now.name}`;
  const seen = options.seen ?? new Set();
  if (old.name && seen.has(pair)) return [];
  const name = now.name ?? old.name;
  const place = name ? `${name} in ${options.direction}s` : options.place;
  const next: Options = { ...options, place, seen: new Set([...seen, pair]) };
  return [
    ...compareTypes(old.schema, now.schema, next),
    ...compareEnums(old.schema, now.schema, next),
    ...compareBounds(old.schema, now.schema, next),
    ...compareForms(old.schema, now.schema, next),
    ...compareProperties({ ...before, schema: old.schema }, { ...after, schema: now.schema }, next),
    ...compareItems({ ...before, schema: old.schema }, { ...after, schema: now.schema }, next),
  ];
}

function compareTypes(before: Json, after: Json, { direction, place }: Options): string[] {
  const [narrow, wide] = direction === 'request' ? [before, after] : [after, before];
  const [needed, allowed] = [typesOf(narrow), typesOf(wide)];
  if (allowed === undefined) return [];
  const extra = needed?.filter(
    (type) => !allowed.includes(type) && !(type === 'integer' && allowed.includes('number')),
  );
  if (extra?.length === 0) return [];
  const verb = direction === 'request' ? 'is not accepted' : 'may come now';
  return [`${place}: ${extra ? extra.join(' or ') : 'any type'} ${verb}${direction === 'request' ? ' any more' : ''}`];
}

/** The types that are allowed; undefined when every type is. */
function typesOf(schema: Json): string[] | undefined {
  if (schema.type !== undefined) return [schema.type].flat();
  const parts = schema.anyOf ?? schema.oneOf;
  if (!parts) return undefined;
  const types = parts.map(typesOf);
  return types.includes(undefined) ? undefined : types.flat();
}

function compareEnums(before: Json, after: Json, { direction, place }: Options): string[] {
  if (direction === 'request') {
    if (!after.enum) return [];
    if (!before.enum) return [`${place}: only listed values are accepted now`];
    const gone = before.enum.filter((value: unknown) => !after.enum.includes(value));
    return gone.map((value: unknown) => `${place}: the value ${value} is not accepted any more`);
  }
  if (!before.enum || after['x-may-grow']) return [];
  if (!after.enum) return [`${place}: any value may come now`];
  const added = after.enum.filter((value: unknown) => !before.enum.includes(value));
  return added.map((value: unknown) => `${place}: the value ${value} may come now`);
}

const lower = ['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties'];
const upper = ['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties'];

function compareBounds(before: Json, after: Json, { direction, place }: Options): string[] {
  const [inner, outer] = direction === 'request' ? [before, after] : [after, before];
  const verb = direction === 'request' ? 'has become narrower' : 'has become wider';
  const exceeds = (keyword: string, sign: 1 | -1): boolean => {
    const bound = boundOf(outer, keyword);
    if (bound === undefined) return false;
    const actual = boundOf(inner, keyword);
    return actual === undefined || sign * actual < sign * bound;
  };
  return [...lower.map((each) => [each, 1] as const), ...upper.map((each) => [each, -1] as const)]
    .filter(([keyword, sign]) => exceeds(keyword, sign))
    .map(([keyword]) => `${place}: ${keyword} ${verb}`);
}

/** Of an integer, an exclusive bound is the same as an inclusive one beside it. */
function boundOf(schema: Json, keyword: string): number | undefined {
  const isInteger = [schema.type].flat().includes('integer');
  if (isInteger && keyword.startsWith('exclusive')) return undefined;
  if (isInteger && keyword === 'minimum' && typeof schema.exclusiveMinimum === 'number') {
    return Math.max(schema.exclusiveMinimum + 1, schema.minimum ?? Number.NEGATIVE_INFINITY);
  }
  if (isInteger && keyword === 'maximum' && typeof schema.exclusiveMaximum === 'number') {
    return Math.min(schema.exclusiveMaximum - 1, schema.maximum ?? Number.POSITIVE_INFINITY);
  }
  return typeof schema[keyword] === 'number' ? schema[keyword] : undefined;
}

/** A form is text that only equality can compare: with another one, what was valid may be valid no more. */
function compareForms(before: Json, after: Json, { direction, place }: Options): string[] {
  return ['pattern', 'format', 'const', 'multipleOf'].flatMap((keyword) => {
    const [old, now] = [before[keyword], after[keyword]];
    const relied = direction === 'request' ? now : old;
    if (relied === undefined || old === now || isWidth(keyword, old, now, before, after)) return [];
    // A regular expression of what a format says already is no more than the format.
    if (keyword === 'pattern' && before.format === 'date-time' && after.format === 'date-time') return [];
    if (keyword === 'format' && direction === 'request' && widerFormats[old] === now) return [];
    return [`${place}: ${keyword} was ${old ?? 'absent'} and is ${now ?? 'absent'}`];
  });
}

/** Format → one that accepts all that it accepts. */
const widerFormats: Record<string, string> = { email: 'idn-email', hostname: 'idn-hostname', uri: 'uri-reference' };

/** `int32` and `int64` only repeat the bounds, which are compared. */
function isWidth(keyword: string, ...[old, now]: Json[]): boolean {
  const widths = [undefined, 'int32', 'int64'];
  return keyword === 'format' && widths.includes(old) && widths.includes(now);
}

function compareProperties(before: SchemaIn, after: SchemaIn, options: Options): string[] {
  const { direction, place } = options;
  const [old, now] = [before.schema, after.schema];
  const [oldRequired, nowRequired]: Json[] = [old.required ?? [], now.required ?? []];
  const known = Object.entries<Json>(old.properties ?? {}).flatMap(([name, schema]) => {
    if (JSON.stringify(schema.not) === '{}') return []; // no value was valid
    const current = now.properties?.[name];
    if (!current) return [`${place}: ${name} is gone`];
    const nested = { ...options, place: `${place}: ${name}` };
    return [
      ...when(
        direction === 'response' && oldRequired.includes(name) && !nowRequired.includes(name),
        `${place}: ${name} may be absent now`,
      ),
      ...compareSchemas({ ...before, schema }, { ...after, schema: current }, nested),
    ];
  });
  const required = nowRequired
    .filter((name: string) => direction === 'request' && !oldRequired.includes(name))
    .map((name: string) => `${place}: ${name} has become required`);
  const closed =
    direction === 'request' &&
    now.additionalProperties === false &&
    old.properties &&
    old.additionalProperties !== false;
  return [...known, ...required, ...when(closed, `${place}: unknown members are refused now`)];
}

function compareItems(before: SchemaIn, after: SchemaIn, options: Options): string[] {
  const parts = ['items', 'additionalProperties'].filter(
    (key) => isSchema(before.schema[key]) && isSchema(after.schema[key]),
  );
  return parts.flatMap((key) =>
    compareSchemas(
      { ...before, schema: before.schema[key] },
      { ...after, schema: after.schema[key] },
      { ...options, place: `${options.place}: its ${key === 'items' ? 'items' : 'values'}` },
    ),
  );
}

/** The schema that a reference leads to, with its name. "This or null" is one schema with two types. */
function resolve({ schema, document }: SchemaIn): { schema: Json; name?: string } {
  if (schema.$ref) {
    const path = schema.$ref.split('/').slice(1) as string[];
    const target = path.reduce((node, key) => node[key], document);
    return { ...resolve({ schema: target, document }), name: path.at(-1) as string };
  }
  const parts: Json[] = schema.anyOf ?? [];
  const [other, ...more] = parts.filter(({ type }) => type !== 'null');
  if (parts.length !== 2 || more.length > 0 || !other) return { schema };
  const inner = resolve({ schema: other, document });
  return { schema: { ...inner.schema, type: [...(typesOf(inner.schema) ?? []), 'null'] } };
}

function isSchema(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0;
}

function when(broken: boolean, message: string): string[] {
  return broken ? [message] : [];
}
