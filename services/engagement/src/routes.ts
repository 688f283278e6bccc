// The routes of events.
import { type Route, route } from '@promopulse/shared/http/routes';
import { type BatchOptions, countEvents } from './batches.ts';
import { describedEvents, eventExample, newEvents, receiptList } from './schemas.ts';

/** Of a response with a receipt `retry`, in whole seconds. */
const retryAfter = 1;

export function eventRoutes(options: BatchOptions): Route[] {
  return [
    route({
      method: 'post',
      path: '/events',
      access: { scope: 'events:write' },
      operationId: 'countEvents',
      summary: 'Count what users have done',
      description:
        'One event, or an array of 1 to 100. Each gets a receipt of its own, in order: one that is rejected does not fail the others, and what is accepted or a duplicate is stored. An event is known by its client, its `id` and the UTC day of `occurred_at`: send it again as it was until it has a receipt other than `retry`. An event counts if the promotion is active or ended, and it occurred from `start_at` to before `end_at`, and not after the promotion was ended early. It is late after 7 days, as the one in the example is. `Idempotency-Key` is not read.',
      body: newEvents,
      describedBody: describedEvents,
      itemsMayFail: true,
      isRepeatable: true,
      showsOnlySent: true,
      example: [eventExample],
      success: {
        status: 200,
        description: 'The receipts. With a `retry` among them, Retry-After says when to send these events again',
        schema: receiptList,
        headers: { 'Retry-After': 'Seconds, if a receipt is `retry`.' },
      },
      errors: {
        415: 'the body is not JSON',
        422: 'the body is neither an event nor an array of 1 to 100',
        503: 'the database is unavailable; nothing is stored, or it is not known whether it is: send the events again',
      },
      handle: async ({ body, faults, caller, cause }) => {
        const isList = body.isList;
        const receipts = await countEvents(
          options,
          {
            items: body.items,
            client: caller.actor ?? '',
            faultsOf: (position) =>
              isList
                ? faults
                    .filter(({ path }) => path[0] === position)
                    .map(({ path, rule }) => ({ path: path.slice(1), rule }))
                : faults,
          },
          cause,
        );
        const mustRetry = receipts.some(({ status }) => status === 'retry');
        return {
          status: 200,
          body: { receipts },
          ...(mustRetry && { headers: { 'Retry-After': String(retryAfter) } }),
        };
      },
    }),
  ];
}
