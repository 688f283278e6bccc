// Checks the input of a request against a zod schema, and names the broken rules. A rule completes "field …", and is in
// our own words also where a schema has none: no answer has the wording of a library.
import type { z } from 'zod';
import { type FieldError, invalidInput } from '../../errors.ts';
import { defaultRule } from '../../values/default-rule.ts';
import { safeFieldName } from '../../values/field-name.ts';
import { type JsonFault, roundedRule } from '../../values/parse-json.ts';

/** A body of unknown names could have thousands of errors, and the response would be many times as large. */
const maxErrors = 100;

type InputName = 'request' | 'body' | 'event';

/**
 * @param inputName field name in the error, for a rule that concerns no single field
 * @param faults what the parser of a body has found, where the schema has found nothing
 * @returns the parsed input
 * @throws DomainError of kind `invalid` that names every field and the rule it breaks
 */
export function validateInput<Schema extends z.ZodType>(
  schema: Schema,
  input: unknown,
  inputName: InputName,
  faults: readonly JsonFault[] = [],
): z.infer<Schema> {
  const result = schema.safeParse(withoutRounded(input, faults), { reportInput: true, error: defaultRule });
  if (result.success && faults.length === 0) return result.data;
  const issues = result.error?.issues ?? [];
  const errors = issues.flatMap((issue) => fieldErrorsOf(issue, inputName));
  const named = new Set(errors.map(({ field }) => field));
  // A body can have thousands of faults, each with a long path.
  for (const { path, rule } of faults.slice(0, maxErrors)) {
    const field = fieldName(path) || inputName;
    if (!named.has(field)) errors.push({ field, rule });
  }
  throw invalidInput(distinct(errors, inputName, Math.max(0, faults.length - maxErrors)));
}

/**
 * The input with no number in the place of a field that was rounded, so that its own rule is told: an id of 2.00…01 must be
 * an integer, and not merely have fewer digits.
 */
function withoutRounded(input: unknown, faults: readonly JsonFault[]): unknown {
  const rounded = faults.filter(({ path, rule }) => path.length === 1 && rule === roundedRule);
  if (rounded.length === 0 || Array.isArray(input)) return input;
  return { ...(input as object), ...Object.fromEntries(rounded.map(({ path }) => [path[0], Number.NaN])) };
}

/** Two checks of a field may report the same rule. @param uncounted number of errors that are not in the list */
function distinct(errors: readonly FieldError[], inputName: string, uncounted: number): FieldError[] {
  const all = [...new Map(errors.map((error) => [`${error.field} ${error.rule}`, error])).values()];
  const more = Math.max(0, all.length - maxErrors) + uncounted;
  if (more === 0) return all;
  return [...all.slice(0, maxErrors), { field: inputName, rule: `has more errors (${more})` }];
}

function fieldErrorsOf(issue: z.core.$ZodIssue, inputName: InputName): FieldError[] {
  const field = fieldName(issue.path);
  // What a query repeats is an array. In a body that is a type like any other.
  if (inputName === 'request' && issue.path.length === 1 && Array.isArray(issue.input)) {
    return [{ field, rule: 'must be given once' }];
  }
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ field: fieldName([...issue.path, key]), rule: 'is not a known field' }));
  }
  if (field === '' && issue.code === 'invalid_type') {
    return [{ field: inputName, rule: issue.input === undefined ? 'is required' : 'must be a JSON object' }];
  }
  return [{ field: field || inputName, rule: issue.message }];
}

function fieldName(path: readonly PropertyKey[]): string {
  return path.map(safeFieldName).join('.');
}
