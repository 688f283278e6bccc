// Runs the subscriptions service as its own main.ts does, but its insert writes no event. cost.ts compares the two.
import type { Statement } from '@promopulse/shared/database/prepared';
import { runProcess } from '@promopulse/shared/process';
import { type ServiceDefinition, startService } from '@promopulse/shared/service';
import { subscriptions } from '../../services/subscriptions/src/service.ts';

/** Removes the common table expression that inserts into the outbox, up to its closing parenthesis. */
function withoutEvent({ text, ...statement }: Statement): Statement {
  const start = /,\s*\w+ as \(\s*insert into outbox\b/.exec(text);
  if (!start) throw new Error('the statement has no common table expression that inserts into the outbox');
  let end = text.indexOf('(', start.index) + 1;
  for (let depth = 1; depth > 0; end += 1) {
    if (text[end] === '(') depth += 1;
    if (text[end] === ')') depth -= 1;
  }
  return { ...statement, text: text.slice(0, start.index) + text.slice(end) };
}

/** The parameters of the event come last, so those that the shorter statement uses are the first. */
const withoutEvents: ServiceDefinition = {
  ...subscriptions,
  parts: ({ database, ...context }) =>
    subscriptions.parts({
      ...context,
      database: {
        ...database,
        write: (statement, values) => {
          const shortened = withoutEvent(statement);
          const positions = Array.from(shortened.text.matchAll(/\$(\d+)/g), ([, position]) => Number(position));
          return database.run(shortened, values.slice(0, Math.max(...positions)));
        },
      },
    }),
};

await runProcess('subscriptions service without events', () => startService(withoutEvents, process.env));
