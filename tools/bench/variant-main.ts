// Runs the subscriptions service as its own main.ts does, but its insert writes no event: the other side of row 8.
import type { Statement } from '@promopulse/shared/database/prepared';
import { runProcess } from '@promopulse/shared/process';
import { type ServiceDefinition, startService } from '@promopulse/shared/service';
import { subscriptions } from '../../services/subscriptions/src/service.ts';

function withoutEvent({ text, ...statement }: Statement): Statement {
  const bare = text.replace(/, announced as \([\s\S]*?from created\)/, '');
  if (bare === text) throw new Error('the insert writes its event in another way than this knows');
  return { ...statement, text: bare };
}

const silent: ServiceDefinition = {
  ...subscriptions,
  parts: ({ database, ...context }) =>
    subscriptions.parts({
      ...context,
      database: {
        ...database,
        write: (statement, values) => {
          const bare = withoutEvent(statement);
          const parameters = Math.max(...Array.from(bare.text.matchAll(/\$(\d+)/g), ([, number]) => Number(number)));
          return database.run(bare, values.slice(0, parameters));
        },
      },
    }),
};

await runProcess('subscriptions service without events', () => startService(silent, process.env));
