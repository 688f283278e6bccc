// Turns an error into what a log line may contain.
import type { ErrorKind } from '../errors.ts';
import { safeFieldName } from '../values/field-name.ts';

/** Classes whose message our own code writes, or the runtime writes about our code. It never quotes data. */
const errorsWithSafeMessage = new Set(['DomainError', 'ConfigError', 'TypeError', 'ReferenceError', 'AssertionError']);

/** An error's causes can form a cycle. */
const maxCauseDepth = 5;

/** A ZodError has an issue for every field that breaks a rule. */
const maxIssues = 3;
const maxPathLength = 200;

/**
 * Fields of an error for a log line: class, code, constraint, broken rules, stack frames, and the message if it is safe.
 */
export function describeError(error: unknown, depth = 0, withFrames = true): Record<string, unknown> {
  if (typeof error !== 'object' || error === null) return { type: typeof error };
  const { name, code, kind, constraint, message, stack, syscall, cause } = error as Error & Record<string, unknown>;
  // An `unavailable` error: its stack frames are omitted, because it is thrown on purpose and often.
  const issues = issuesOf(error);
  const frames = withFrames && kind !== ('unavailable' satisfies ErrorKind);
  const isSafe = (typeof name === 'string' && errorsWithSafeMessage.has(name)) || typeof syscall === 'string';
  return {
    type: name ?? 'Error',
    ...(code !== undefined && { code }),
    ...(constraint !== undefined && { constraint }),
    ...(issues.length > 0 && { issues }),
    ...(isSafe && { message }),
    ...(frames && typeof stack === 'string' && { frames: framesOf(stack, message) }),
    ...(cause !== undefined && depth < maxCauseDepth && { cause: describeError(cause, depth + 1, frames) }),
  };
}

/**
 * The same in a few words, for a line that is repeated or that a person reads at a terminal: class, code, and the
 * address that was tried, of the innermost cause that has a code.
 */
export function summarizeError(error: unknown): Record<string, unknown> {
  const { name, code, address, hostname, port } = innermost(error);
  const host = address ?? hostname;
  const place = host !== undefined && (port === undefined ? String(host) : `${host}:${port}`);
  return code === undefined ? { type: name ?? 'Error' } : { code, ...(place && { address: place }) };
}

/** An AggregateError has one error for each address of a host. */
function innermost(error: unknown, depth = 0): Record<string, unknown> {
  const { cause, errors, code } = (error ?? {}) as { cause?: unknown; errors?: unknown[]; code?: unknown };
  const next = cause ?? errors?.[0];
  const inner = next && depth < maxCauseDepth ? innermost(next, depth + 1) : undefined;
  if (inner?.code !== undefined || (inner && code === undefined)) return inner;
  return Object(error) as Record<string, unknown>;
}

/** Field and rule of the first issues of a ZodError, such as `data.status invalid_value`. Never a value. */
function issuesOf(error: object): string[] {
  const { issues } = error as { issues?: unknown };
  if (!Array.isArray(issues)) return [];
  return issues.slice(0, maxIssues).map((issue: { path?: unknown; code?: unknown } | null) => {
    const path = Array.isArray(issue?.path) ? issue.path.map(safeFieldName).join('.') : '';
    return `${path.slice(0, maxPathLength) || '(root)'} ${safeFieldName(String(issue?.code))}`;
  });
}

/**
 * The stack frames, without the message in front of them. A line of the message can look like a frame, and
 * MikroORM's stack contains lines of the message a second time, so lines of the message are removed everywhere.
 */
function framesOf(stack: string, message: unknown): string[] {
  const messageLines = new Set(String(message).split('\n'));
  return stack.split('\n').filter((line) => line.startsWith('    at ') && !messageLines.has(line));
}
