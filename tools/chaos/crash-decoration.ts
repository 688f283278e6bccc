// Puts the crash points around the routes, the database and the broker of a service, where it is wired (`decorate` of
// startService). The service itself has no code for them.
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Connection, Database } from '@promopulse/shared/database/database';
import type { Statement } from '@promopulse/shared/database/prepared';
import { outcomeUnknown } from '@promopulse/shared/errors';
import type { Broker, PublishOutcome } from '@promopulse/shared/messaging/broker';
import type { Decoration } from '@promopulse/shared/service';
import type { CrashTrigger } from './crash-trigger.ts';

type EntityManager = Parameters<Parameters<Database['transaction']>[0]>[0];

/** What the present asynchronous work is for: a request, or an event that a request caused. */
interface Work {
  cause: 'request' | 'event';
  requestId: string | undefined;
}

type CurrentWork = AsyncLocalStorage<Work>;

interface Known {
  currentWork: CurrentWork;
  events: ConsumedEvents;
}

/** The requests that caused the events which the consumer has received, by the row and the version of the event. */
class ConsumedEvents {
  readonly #requestIds = new Map<string, string | undefined>();

  add(body: string): void {
    const { source, data, requestid } = JSON.parse(body) as ParsedEvent;
    this.#requestIds.set(`${source} ${data.id} ${data.version}`, requestid);
  }

  /** @returns the requests of the events that the statement applies; undefined for another statement */
  requestIdsOf({ name = '' }: Statement, values: readonly unknown[]): (string | undefined)[] | undefined {
    const [, owner] = /^projection_(\w+)_events?$/.exec(name) ?? [];
    if (!owner) return undefined;
    const [ids, versions] = [values[0], values.at(-2)]; // the contents are between them, and the epoch is last
    const rows = (ids as number[]).map((id, index) => `${id} ${(versions as number[])[index]}`);
    return rows.map((row) => this.#requestIds.get(`/promopulse/${owner} ${row}`));
  }
}

interface ParsedEvent {
  source: string;
  data: { id?: number; version?: number };
  requestid?: string;
}

export function crashDecoration(trigger: CrashTrigger): Required<Decoration> {
  const currentWork: CurrentWork = new AsyncLocalStorage();
  const events = new ConsumedEvents();
  return {
    database: (database) => decorateDatabase(database, trigger, { currentWork, events }),
    broker: (broker) => decorateBroker(broker, trigger, { currentWork, events }),
    route: (route) => ({
      ...route,
      handle: (input) =>
        currentWork.run({ cause: 'request', requestId: input.cause.requestId }, async () => {
          await trigger.failAt('request-read', [input.cause.requestId]);
          const result = await route.handle(input);
          const isInternal = route.path.startsWith('/internal/');
          await trigger.failAt(isInternal ? 'owner-answering' : 'before-response', [input.cause.requestId]);
          return result;
        }),
    }),
  };
}

function decorateDatabase(database: Database, trigger: CrashTrigger, { currentWork, events }: Known): Database {
  const requestIdOf = (cause: Work['cause']): string | undefined => {
    const work = currentWork.getStore();
    return work?.cause === cause ? work.requestId : undefined;
  };
  return {
    ...database,
    transaction: async (work) => {
      const id = requestIdOf('request');
      await trigger.failAt('before-write', [id]);
      let isResultLost = false;
      const result = await database.transaction(async (em) => {
        const value = await work(beforeInsert(em, () => trigger.failAt('row-written', [id])));
        await trigger.failAt('before-commit', [id]);
        const loseResult = (): typeof value => {
          isResultLost = true;
          return value;
        };
        return await trigger.failDuring('commit-sent', [id], async () => value, loseResult);
      });
      if (isResultLost) throwOutcomeUnknown();
      await trigger.failAt('committed', [id]);
      return result;
    },
    write: async <Row>(statement: Statement, values: readonly unknown[]) => {
      const id = requestIdOf('request');
      await trigger.failAt('before-write', [id]);
      const write = (): Promise<Row[]> => database.write<Row>(statement, values);
      const rows = await trigger.failDuring('commit-sent', [id], write, throwOutcomeUnknown);
      if (rows.length > 0) await trigger.failAt('committed', [id]);
      return rows;
    },
    run: async <Row>(statement: Statement, values: readonly unknown[]) => {
      if (statement.name?.startsWith('projection_')) {
        await trigger.failAt('owner-answered', [requestIdOf('request')]);
      }
      const batch = events.requestIdsOf(statement, values);
      const ids = batch ?? [requestIdOf('event')];
      await trigger.failAt('before-apply', ids);
      const run = (): Promise<Row[]> => database.run<Row>(statement, values);
      const runAlone = async (): Promise<Row[]> => {
        if (ids.length > 1 && ids.some((id) => id && trigger.isPlannedFor('divided', id))) throw new Error('a batch');
        return await trigger.failDuring('divided', batch ?? [], run, throwConnectionLost);
      };
      return await trigger.failDuring('apply-sent', ids, runAlone, throwConnectionLost);
    },
    onCommit: (listener) =>
      database.onCommit(() => {
        const id = requestIdOf('request');
        if (id !== undefined) trigger.recordCommit(id);
        if (id === undefined || !trigger.isPlannedFor('committed', id)) listener();
      }),
    connect: async () => decorateRelayConnection(await database.connect(), trigger),
  };
}

/** The relay reads and marks the outbox on a connection of its own. */
function decorateRelayConnection(connection: Connection, trigger: CrashTrigger): Connection {
  let batch: string[] = [];
  return {
    ...connection,
    query: async <Row>(statement: Statement, values?: readonly unknown[]) => {
      if (statement.name === 'outbox_waiting') await trigger.beforeOutboxRead();
      const rows = await connection.query<Row>(statement, values);
      if (statement.name === 'outbox_waiting') {
        batch = (rows as { request_id: string }[]).map(({ request_id }) => request_id);
      }
      if (statement.name === 'outbox_mark') await trigger.failAt('marked', batch);
      return rows;
    },
  };
}

function decorateBroker(broker: Broker, trigger: CrashTrigger, { currentWork, events }: Known): Broker {
  const requestIdByMessage = new Map<string, string | undefined>();
  return {
    ...broker,
    publish: async (messages) => {
      const ids = messages.map(({ body }) => requestIdIn(body));
      for (const [index, { id }] of messages.entries()) requestIdByMessage.set(id, ids[index]);
      await trigger.failAt('outbox-read', ids);
      const publish = (): Promise<PublishOutcome[]> => broker.publish(messages);
      const loseConfirms = (): PublishOutcome[] => messages.map(() => 'failed');
      const outcomes = await trigger.failDuring('publish-sent', ids, publish, loseConfirms);
      const confirmed = ids.filter((_, index) => outcomes[index] === 'confirmed');
      await trigger.failAt('publish-confirmed', confirmed);
      return outcomes;
    },
    consume: (consumer) =>
      broker.consume({
        ...consumer,
        handle: async (message) => {
          const requestId = requestIdIn(message.body);
          await trigger.failAt('delivered', [requestId]);
          events.add(message.body);
          if (requestId !== undefined) await trigger.beforeBatch(requestId);
          const handled = await currentWork.run({ cause: 'event', requestId }, () => consumer.handle(message));
          await trigger.failAt('applied', [requestId]);
          return handled;
        },
      }),
    onReply: (listener) =>
      broker.onReply((messageId, queue) => {
        trigger.failInCallback('reply-received', requestIdByMessage.get(messageId), () => listener(messageId, queue));
      }),
  };
}

/** The error of node-postgres when a connection closes during a statement. */
const connectionLost = new Error('Connection terminated unexpectedly');

/** The error of the database when the connection closes after a write was sent. */
function throwOutcomeUnknown(): never {
  throw outcomeUnknown(connectionLost);
}

function throwConnectionLost(): never {
  throw connectionLost;
}

/** Calls `act` before an event is inserted. Rows are written by flushing, so no other insert goes through `insert`. */
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

/** Undefined for a heartbeat, which therefore reaches no crash point. */
function requestIdIn(body: string): string | undefined {
  return (JSON.parse(body) as { requestid?: string }).requestid;
}
