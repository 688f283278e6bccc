// The crash points: named points between the arrival of a request and the acknowledgement of its event at which a
// service can be made to fail. docs/reliability.md shows this table, and a test compares the two.

/** In the order in which a request, and then its event, reach them. A point's number is its position, from 1. */
export const crashPoints = [
  { name: 'request-read', description: 'the request is read and valid; its use case has not begun' },
  { name: 'before-write', description: 'before the transaction, or the single statement that replaces it' },
  {
    name: 'row-written',
    description: 'in the transaction of an edit (promotions): the row is written, its event is not',
  },
  { name: 'before-commit', description: 'in the transaction of an edit (promotions): row and event are written' },
  { name: 'commit-sent', description: 'the commit, or that statement, is on its way to the database' },
  { name: 'committed', description: 'committed; the relay has not been woken' },
  { name: 'before-response', description: 'committed, and the response is ready; it has not been sent' },
  { name: 'owner-answering', description: 'in the owner, before it answers another service that asks for a row' },
  { name: 'owner-answered', description: "in the service that asked, before the owner's answer is stored" },
  { name: 'relay-woken', description: 'before the relay reads the outbox' },
  { name: 'outbox-read', description: 'the relay has read the events; none has been published' },
  { name: 'publish-sent', description: 'the events are on their way to the broker' },
  { name: 'publish-confirmed', description: 'the broker has confirmed the events; none is marked as published' },
  { name: 'marked', description: 'the events are marked as published' },
  { name: 'delivered', description: 'the consumer has received the events; none is being applied' },
  { name: 'before-apply', description: 'before the statement that applies a batch of events' },
  { name: 'apply-sent', description: 'that statement is on its way to the database' },
  { name: 'divided', description: 'that statement has failed; smaller ones are on their way, each with one event' },
  { name: 'applied', description: 'the events are applied; none is acknowledged' },
  { name: 'reply-received', description: 'the writer knows that its event is applied; it has not sent its response' },
] as const;

export type CrashPoint = (typeof crashPoints)[number]['name'];

/**
 * `die`: SIGKILL. `throw`: an unexpected error. At the points named `…-sent` the operation takes effect, and its
 * result is lost together with the connection.
 */
export type Failure = 'die' | 'throw';

export interface CrashPlan {
  point: CrashPoint;
  failure: Failure;
  /**
   * Ids of the requests to fail. To die, the process waits until all of them, or their events, have reached the point.
   * An error is thrown once for each. Undefined: the first request or event at the point fails alone.
   */
  requests?: readonly string[];
}
