// The rules of zod in our own words, for fields of requests and for variables of the environment.
import type { z } from 'zod';

/** The types that zod expects, in the words of JSON. */
const typeNames: Record<string, string> = {
  int: 'an integer',
  array: 'an array',
  tuple: 'an array',
  object: 'an object',
  record: 'an object',
  null: 'null',
  never: 'absent',
  undefined: 'absent',
  nan: 'a number',
};

/** The rule of an issue whose schema has no words of its own. It completes "field …" and contains no value. */
export function defaultRule(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? 'is required'
        : `must be ${typeNames[issue.expected] ?? `a ${issue.expected}`}`;
    case 'invalid_value':
      return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(String).join(', ')}`;
    case 'too_small':
      return `must ${sizeOf(issue.origin, issue.inclusive ? 'at least' : 'more than', issue.minimum)}`;
    case 'too_big':
      return `must ${sizeOf(issue.origin, issue.inclusive ? 'at most' : 'less than', issue.maximum)}`;
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}`;
    case 'invalid_format':
      return issue.format === 'regex' ? 'must have another form' : `must have the form ${issue.format}`;
    case 'unrecognized_keys':
      return 'must have only known fields';
    case 'invalid_key':
      return 'must have other names';
    case 'invalid_union':
      return 'must have one of the known forms';
    default:
      return 'must have another value';
  }
}

function sizeOf(origin: string, comparison: string, bound: number | bigint): string {
  if (origin === 'string') return `have ${comparison} ${bound} characters`;
  return ['array', 'set', 'map', 'object'].includes(origin)
    ? `have ${comparison} ${bound} items`
    : `be ${comparison} ${bound}`;
}
