// What a log line may say of an error.
import type { ErrorKind } from '../errors.ts';

/** Classes whose message is written by our own code or by the runtime about our code, never about data. */
const errorsWithSafeMessage = new Set(['DomainError', 'ConfigError', 'TypeError', 'ReferenceError', 'AssertionError']);

/** What may be said of an error in a log line: class, code, constraint, stack frames, and a safe message. */
export function describeError(error: unknown, depth = 0, withFrames = true): Record<string, unknown> {
  if (typeof error !== 'object' || error === null) return { type: typeof error };
  const { name, code, kind, constraint, message, stack, syscall, cause } = error as Error & Record<string, unknown>;
  // Thrown on purpose, and while something is away for every request: nobody needs to know again from where.
  const frames = withFrames && kind !== ('unavailable' satisfies ErrorKind);
  const speaks = (typeof name === 'string' && errorsWithSafeMessage.has(name)) || typeof syscall === 'string';
  return {
    type: name ?? 'Error',
    ...(code !== undefined && { code }),
    ...(constraint !== undefined && { constraint }),
    ...(speaks && { message }),
    ...(frames && typeof stack === 'string' && { frames: framesOf(stack, message) }),
    ...(cause !== undefined && depth < maxCauseDepth && { cause: describeError(cause, depth + 1, frames) }),
  };
}

/** Causes may be tied in a ring. */
const maxCauseDepth = 5;

/** A stack begins with the message (MikroORM's repeats lines of it), and a line of a message can look like a frame. */
function framesOf(stack: string, message: unknown): string[] {
  const said = new Set(String(message).split('\n'));
  return stack.split('\n').filter((line) => line.startsWith('    at ') && !said.has(line));
}
