// Runs the subscriptions service as its own main.ts does, but its statements write no event. cost.ts compares the two.
import { runProcess } from '@promopulse/shared/process';
import { type ServiceDefinition, startService } from '@promopulse/shared/service';
import { subscriptions } from '../../services/subscriptions/src/service.ts';
import { parameterCount, withoutEvent } from './without-event.ts';

const withoutEvents: ServiceDefinition = {
  ...subscriptions,
  parts: ({ database, ...context }) =>
    subscriptions.parts({
      ...context,
      database: {
        ...database,
        // The values of the event come last, so the first are those of the shorter statement.
        write: (statement, values) => {
          const shorter = withoutEvent(statement);
          return database.run(shorter, values.slice(0, parameterCount(shorter)));
        },
      },
    }),
};

await runProcess('subscriptions service without events', () => startService(withoutEvents, process.env));
