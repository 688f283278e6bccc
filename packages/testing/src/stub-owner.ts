// A stub of a service that owns projected rows: it answers over HTTP what a test sets.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { bucketSize } from '@promopulse/shared/contracts/snapshot';

export interface State {
  id: number;
  version: number;
  readonly [field: string]: unknown;
}

export interface StubOwner {
  url: string;
  states: Map<number, State>;
  /** Ids of rows that have not changed of late. A delta has all others. */
  unchanged: Set<number>;
  /** What its relay states: the life of its database, its lead, its last number, and the last id of its outbox. */
  publication: { epoch: string; lead: string; number: number; position: number };
  /** How it answers: `up`, `failing` (500), `hanging` (never), `late` (300 ms after it has read), or milliseconds before it reads. */
  mood: 'up' | 'failing' | 'hanging' | 'late' | number;
  /** An answer to a request for one id instead of its own. */
  stranger: { status: number; type: string; body: string } | undefined;
  /** Requests for one id so far. */
  asked: number;
  /** Requests for pages, as text: their parameters. */
  pages: string[];
  close(): Promise<void>;
}

export async function startOwner(): Promise<StubOwner> {
  const states = new Map<number, State>();
  const server = createServer(async (request, response) => {
    const url = new URL(String(request.url), 'http://owner');
    const id = Number(/\/(\d+)$/.exec(url.pathname)?.[1]);
    if (id) owner.asked += 1;
    else owner.pages.push(url.pathname.endsWith('digests') ? 'digests' : url.search);
    if (owner.mood === 'hanging') return;
    if (typeof owner.mood === 'number') await sleep(owner.mood);
    const found = id ? states.get(id) : snapshotAnswer(owner, url);
    if (owner.mood === 'late') await sleep(300);
    if (id && owner.stranger) {
      response.statusCode = owner.stranger.status;
      response.setHeader('content-type', owner.stranger.type).end(owner.stranger.body);
      return;
    }
    response.statusCode = owner.mood === 'failing' ? 500 : found ? 200 : 404;
    response.setHeader('content-type', found ? 'application/json' : 'application/problem+json');
    response.end(JSON.stringify(found ?? { status: 404, code: 'not_found' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const owner: StubOwner = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    states,
    unchanged: new Set(),
    publication: { epoch: randomUUID(), lead: randomUUID(), number: 0, position: 1 },
    mood: 'up',
    stranger: undefined,
    asked: 0,
    pages: [],
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return owner;
}

/** A page, or digests that equal nobody's: the reader then reads every bucket that has a row. */
function snapshotAnswer({ states, unchanged, publication: { epoch, position } }: StubOwner, url: URL): object {
  const read = { epoch, position, read_at: new Date().toISOString() };
  const sorted = [...states.values()].sort((a, b) => a.id - b.id);
  const parameter = (name: string) => url.searchParams.get(name);
  if (url.pathname.endsWith('/digests')) {
    const from = Number(parameter('from_bucket'));
    const buckets = Map.groupBy(sorted, ({ id }) => Math.floor(id / bucketSize));
    const items = [...buckets]
      .filter(([bucket]) => bucket >= from && bucket < from + Number(parameter('limit')))
      .map(([bucket, { length: count }]) => ({ bucket, count, digest: 'of a stub' }));
    return { ...read, last_bucket: Math.max(-1, ...buckets.keys()), items };
  }
  if (!(Number(parameter('after_id')) >= 0)) throw new Error('after_id must not be negative');
  const ids = parameter('ids')?.split(',').map(Number);
  const page = sorted
    .filter(({ id }) => id > Number(parameter('after_id')) && id <= Number(parameter('up_to_id') ?? Infinity))
    .filter(({ id }) => (ids ? ids.includes(id) : true))
    .filter(({ id }) => (parameter('changed_since') ? !unchanged.has(id) : true));
  return { ...read, items: page.slice(0, Number(parameter('limit'))) };
}
