// The places between a request's arrival and an event's acknowledgement where a service can be made to fail, by name.
// They are put in where a service is wired (`decorate` of startService), around its routes, its database and its
// broker: the service knows nothing of them. docs/reliability.md shows the table; a test holds it to this one.
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Connection, Database } from '@promopulse/shared/database/database';
import type { Statement } from '@promopulse/shared/database/prepared';
import type { Broker, PublishOutcome } from '@promopulse/shared/messaging/broker';
import type { Decoration } from '@promopulse/shared/service';

/** In the order in which a request and then its event pass them; the number is the place in this list, from 1. */
export const crashPoints = [
  { name: 'request-read', place: 'the request is read and valid; its use case has not begun' },
  { name: 'before-write', place: 'before the transaction, or the statement that is one by itself' },
  { name: 'row-written', place: 'in the transaction (users, promotions): the row is written, its event is not' },
  { name: 'before-commit', place: 'in the transaction (users, promotions): row and event are written' },
  { name: 'commit-sent', place: 'the commit, or that statement, is under way to the database' },
  { name: 'committed', place: 'committed; the relay has not been woken' },
  { name: 'before-response', place: 'committed, and the answer is known; it has not been sent' },
  { name: 'owner-answering', place: "in the owner, before it answers a neighbour's question about a row" },
  { name: 'owner-answered', place: 'in the neighbour, before what the owner said is remembered' },
  { name: 'relay-woken', place: 'before the relay reads the outbox' },
  { name: 'outbox-read', place: 'the relay holds the events; none has been published' },
  { name: 'publish-sent', place: 'the events are under way to the broker' },
  { name: 'publish-confirmed', place: 'the broker has confirmed the events; none is marked as published' },
  { name: 'marked', place: 'the events are marked as published' },
  { name: 'delivered', place: 'the consumer holds the events; none is being applied' },
  { name: 'before-apply', place: 'before the statement that applies an event' },
  { name: 'apply-sent', place: 'that statement is under way to the database' },
  { name: 'applied', place: 'the events are applied; none is acknowledged' },
  { name: 'reply-received', place: 'the writer has been told that its event is applied; its caller has not' },
] as const;

export type CrashPoint = (typeof crashPoints)[number]['name'];

/**
 * `die`: SIGKILL. `throw`: an unexpected error; where something is under way (`…-sent`), it arrives and takes effect,
 * and its answer is lost together with the connection.
 */
export type Failure = 'die' | 'throw';

export interface CrashPlan {
  point: CrashPoint;
  failure: Failure;
  /**
   * The requests to fail, by their ids: to die, the process waits until all of them, or their events, are at the point;
   * an error is thrown once for each. Without it, whichever comes first fails alone.
   */
  requests?: readonly string[];
}

type EntityManager = Parameters<Parameters<Database['transaction']>[0]>[0];

interface CrashPoints {
  decorate: Required<Decoration>;
  /** Replaces any plan before. */
  arm(plan: CrashPlan): void;
}

const relayPoints: readonly CrashPoint[] = [
  'relay-woken',
  'outbox-read',
  'publish-sent',
  'publish-confirmed',
  'marked',
];

/** @param reached told of each request at the planned point, before the failure */
export function createCrashPoints(reached: (point: CrashPoint, requestId: string) => void): CrashPoints {
  const work = new AsyncLocalStorage<{ requestId: string | undefined; on: 'request' | 'event' }>();
  let plan: CrashPlan | undefined;
  let missing = new Set<string>();
  let complete = Promise.withResolvers<void>();
  const committed = new Set<string>();
  let allCommitted = Promise.withResolvers<void>();

  function arm(next: CrashPlan): void {
    plan = next;
    missing = new Set(next.requests);
    complete = Promise.withResolvers();
    committed.clear();
    allCommitted = Promise.withResolvers();
  }

  function noteCommit(requestId: string): void {
    committed.add(requestId);
    if (plan?.requests?.every((each) => committed.has(each)) ?? true) allCommitted.resolve();
  }

  const isPlannedFor = (point: CrashPoint, id: string): boolean =>
    plan?.point === point && (plan.requests === undefined || missing.has(id));

  /** Notes who is there. @returns what is to happen to them; undefined: they go on */
  function meet(point: CrashPoint, ids: readonly (string | undefined)[]): Failure | undefined {
    const here = ids.filter((id) => id !== undefined && isPlannedFor(point, id)) as string[];
    if (!plan || here.length === 0) return undefined;
    const { failure } = plan;
    for (const id of here) {
      missing.delete(id);
      reached(point, id);
    }
    if (missing.size === 0) {
      complete.resolve();
      if (failure === 'throw') plan = undefined;
    }
    return failure;
  }

  /** A place between two steps. */
  async function at(point: CrashPoint, ids: readonly (string | undefined)[]): Promise<void> {
    const failure = meet(point, ids);
    if (failure === 'throw') throw new Error(`crash point ${point}`);
    if (failure === 'die') {
      await complete.promise;
      die();
    }
  }

  /** A step under way: it is sent, and nobody hears how it went. */
  async function during<Result>(
    point: CrashPoint,
    ids: readonly (string | undefined)[],
    send: () => Promise<Result>,
    lose: () => Result,
  ): Promise<Result> {
    const failure = meet(point, ids);
    if (failure === 'die') {
      await complete.promise;
      setImmediate(die); // what is sent is written to its socket by then
    }
    const result = await send();
    return failure === 'throw' ? lose() : result;
  }

  /** What its `work` is for, when that is a request or an event. */
  const idOf = (on: 'request' | 'event'): string | undefined => {
    const current = work.getStore();
    return current?.on === on ? current.requestId : undefined;
  };

  function database(inner: Database): Database {
    let published: readonly string[] = [];
    const written = (): Promise<void> => at('committed', [idOf('request')]);
    return {
      ...inner,
      transaction: async (steps) => {
        const id = idOf('request');
        await at('before-write', [id]);
        let lost = false;
        const result = await inner.transaction(async (em) => {
          const found = await steps(beforeInsert(em, () => at('row-written', [id])));
          await at('before-commit', [id]);
          return await during(
            'commit-sent',
            [id],
            async () => found,
            () => {
              lost = true;
              return found;
            },
          );
        });
        if (lost) connectionLost();
        await written();
        return result;
      },
      write: async <Row>(statement: Statement, values: readonly unknown[]) => {
        const id = idOf('request');
        await at('before-write', [id]);
        const rows = await during('commit-sent', [id], () => inner.write<Row>(statement, values), connectionLost);
        if (rows.length > 0) await written();
        return rows;
      },
      run: async <Row>(statement: Statement, values: readonly unknown[]) => {
        if (statement.name?.startsWith('projection_')) await at('owner-answered', [idOf('request')]);
        const event = idOf('event');
        await at('before-apply', [event]);
        return await during('apply-sent', [event], () => inner.run<Row>(statement, values), connectionLost);
      },
      onCommit: (listener) =>
        inner.onCommit(() => {
          const id = idOf('request');
          if (id !== undefined) noteCommit(id);
          if (id === undefined || !isPlannedFor('committed', id)) listener();
        }),
      connect: async () => {
        const connection = await inner.connect();
        const query: Connection['query'] = async <Row>(statement: Statement, values?: readonly unknown[]) => {
          if (statement.name === 'outbox_waiting' && plan && relayPoints.includes(plan.point)) {
            await allCommitted.promise; // so that one reading finds all their events
            await at('relay-woken', plan.requests ?? [...committed]);
          }
          const rows = await connection.query<Row>(statement, values);
          if (statement.name === 'outbox_waiting') published = (rows as { request_id: string }[]).map(requestIdOf);
          if (statement.name === 'outbox_mark') await at('marked', published);
          return rows;
        };
        return { ...connection, query };
      },
    };
  }

  function broker(inner: Broker): Broker {
    const requestOf = new Map<string, string | undefined>();
    return {
      ...inner,
      publish: async (messages) => {
        const ids = messages.map(({ body }) => requestIdIn(body));
        for (const [index, { id }] of messages.entries()) requestOf.set(id, ids[index]);
        await at('outbox-read', ids);
        const noConfirm = (): PublishOutcome[] => messages.map(() => 'failed');
        const outcomes = await during('publish-sent', ids, () => inner.publish(messages), noConfirm);
        await at(
          'publish-confirmed',
          ids.filter((_, index) => outcomes[index] === 'confirmed'),
        );
        return outcomes;
      },
      consume: (consumer) =>
        inner.consume({
          ...consumer,
          handle: async (message) => {
            const requestId = requestIdIn(message.body);
            await at('delivered', [requestId]);
            await work.run({ requestId, on: 'event' }, () => consumer.handle(message));
            await at('applied', [requestId]);
          },
        }),
      onReply: (listener) =>
        inner.onReply((messageId) => {
          const failure = meet('reply-received', [requestOf.get(messageId)]);
          if (failure === 'throw') throw new Error('crash point reply-received');
          if (failure === 'die') void complete.promise.then(die);
          else listener(messageId);
        }),
    };
  }

  const route: Required<Decoration>['route'] = (inner) => ({
    ...inner,
    handle: (input) =>
      work.run({ requestId: input.requestId, on: 'request' }, async () => {
        await at('request-read', [input.requestId]);
        const answer = await inner.handle(input);
        const isNeighbours = inner.path.startsWith('/internal/');
        await at(isNeighbours ? 'owner-answering' : 'before-response', [input.requestId]);
        return answer;
      }),
  });

  return { decorate: { database, broker, route }, arm };
}

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  throw new Error('a process outlived its SIGKILL');
}

/** As node-postgres says it. */
function connectionLost(): never {
  throw new Error('Connection terminated unexpectedly');
}

/** The events' own insert is the only one: rows are written by flushing. */
function beforeInsert(em: EntityManager, act: () => Promise<void>): EntityManager {
  return new Proxy(em, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      if (name !== 'insert') return value.bind(target) as unknown;
      return async (...input: unknown[]) => {
        await act();
        return (await value.apply(target, input)) as unknown;
      };
    },
  });
}

const requestIdOf = (row: { request_id: string }): string => row.request_id;

/** Heartbeats have none, and so meet no crash point. */
function requestIdIn(body: string): string | undefined {
  return (JSON.parse(body) as { requestid?: string }).requestid;
}
