// Moves what several operations have in common into the components of the OpenAPI document, so that it is written, read
// and generated once: parameters, and error responses.
import { problemTitles } from '@promopulse/shared/http/problem';

type Json = Record<string, unknown>;
type Group = Record<string, Json>;

interface MergedDocument {
  paths: Group;
  components: Record<string, Group>;
  [member: string]: unknown;
}

interface Operation {
  tags?: readonly string[];
  parameters?: readonly Json[];
  responses?: Group;
}

/** One place where a parameter or a response stands. */
interface Use {
  kind: 'parameters' | 'responses';
  /** The name of the component, if one tag alone uses it, without that tag. */
  baseName: string;
  tag: string;
  definition: Json;
}

/** @returns a copy in which what stands in two operations or more is a component that both refer to */
export function shareComponents(document: MergedDocument): MergedDocument {
  const operations = operationsOf(document);
  const uses = Map.groupBy(operations.flatMap(usesOf), ({ kind, definition }) => keyOf(kind, definition));
  const components: Record<string, Group> = { ...document.components };
  const refs = new Map<string, Json>();
  for (const [key, [first, ...more]] of uses) {
    if (!first || more.length === 0) continue;
    const { kind, baseName, definition } = first;
    const tags = new Set([first, ...more].map(({ tag }) => tag));
    const name = tags.size > 1 ? baseName : `${first.tag.replace(/s$/, '')}${baseName}`;
    if (components[kind]?.[name]) continue; // another has the name already: this one stays where it is
    components[kind] = { ...components[kind], [name]: definition };
    refs.set(key, { $ref: `#/components/${kind}/${name}` });
  }
  const share = (kind: Use['kind'], definition: Json): Json => refs.get(keyOf(kind, definition)) ?? definition;
  const paths = mapValues(document.paths, (item) => mapValues(item, (value) => shareInOperation(value, share)));
  return { ...document, paths, components };
}

function shareInOperation(value: unknown, share: (kind: Use['kind'], definition: Json) => Json): unknown {
  if (!isOperation(value)) return value;
  const { parameters, responses } = value;
  return {
    ...value,
    ...(parameters && { parameters: parameters.map((parameter) => share('parameters', parameter)) }),
    ...(responses && { responses: mapValues(responses, (response) => share('responses', response)) }),
  };
}

function operationsOf({ paths }: MergedDocument): Operation[] {
  return Object.values(paths).flatMap((item) => Object.values(item).filter(isOperation));
}

function isOperation(value: unknown): value is Operation {
  return typeof value === 'object' && value !== null && 'responses' in value;
}

function usesOf({ tags = [], parameters = [], responses = {} }: Operation): Use[] {
  const tag = tags[0] ?? '';
  const uses: Use[] = [
    ...parameters.map((definition) => ({
      kind: 'parameters' as const,
      baseName: pascalCase(String(definition.name)),
      tag,
      definition,
    })),
    ...Object.entries(responses)
      .filter(([status]) => Number(status) >= 400)
      .map(([status, definition]) => ({
        kind: 'responses' as const,
        baseName: pascalCase(problemTitles[Number(status)] ?? status),
        tag,
        definition,
      })),
  ];
  return uses.filter(({ definition }) => definition.$ref === undefined);
}

function keyOf(kind: string, definition: Json): string {
  return `${kind} ${JSON.stringify(definition)}`;
}

function pascalCase(text: string): string {
  return text.replaceAll(/(?:^|[ _-])(\w)/g, (_whole, letter: string) => letter.toUpperCase());
}

function mapValues<Value, Result>(
  object: Readonly<Record<string, Value>>,
  map: (value: Value) => Result,
): Record<string, Result> {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value)]));
}
