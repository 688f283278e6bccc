// Checks the input of a request against a zod schema, and names the broken rules.
import type { z } from 'zod';
import { type FieldError, invalidInput } from '../errors.ts';
import { safeFieldName } from '../telemetry/describe-error.ts';

/**
 * @param inputName field name in the error, for a rule that concerns no single field
 * @returns the parsed input
 * @throws DomainError of kind `invalid` that names every field and the rule it breaks
 */
export function validateInput<Schema extends z.ZodType>(
  schema: Schema,
  input: unknown,
  inputName: 'request' | 'body',
): z.infer<Schema> {
  const result = schema.safeParse(input, { reportInput: true });
  if (result.success) return result.data;
  const errors = result.error.issues.flatMap((issue) => fieldErrorsOf(issue, inputName));
  // Two checks of a field may report the same rule: a Map keeps one of each.
  throw invalidInput([...new Map(errors.map((error) => [`${error.field} ${error.rule}`, error])).values()]);
}

function fieldErrorsOf(issue: z.core.$ZodIssue, inputName: string): FieldError[] {
  const field = fieldName(issue.path);
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
