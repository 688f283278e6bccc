// Removes the event from a statement, so that cost.ts can measure what the outbox adds to it.
import type { Statement } from '@promopulse/shared/database/prepared';

/**
 * Removes the common table expression that inserts into the outbox.
 * @throws when there is none
 */
export function withoutEvent({ text, ...statement }: Statement): Statement {
  const start = /,\s*\w+ as \(\s*insert into outbox\b/.exec(text);
  if (!start) throw new Error('the statement has no common table expression that inserts into the outbox');
  let end = text.indexOf('(', start.index) + 1;
  for (let depth = 1; depth > 0 && end < text.length; end += 1) {
    if (text[end] === '(') depth += 1;
    if (text[end] === ')') depth -= 1;
  }
  return { ...statement, text: text.slice(0, start.index) + text.slice(end) };
}

/** @returns how many parameters the statement has: the maximum n of its $n */
export function parameterCount({ text }: Statement): number {
  return Math.max(0, ...Array.from(text.matchAll(/\$(\d+)/g), ([, position]) => Number(position)));
}
