// A process that sends as many requests as it can. It uses plain sockets, so that it needs less CPU than the servers. The
// plan comes from the command line; the report goes to standard output as JSON.
import { connect, type Socket } from 'node:net';

export interface LoadPlan {
  port: number;
  connections: number;
  forMs: number;
  /**
   * Requests per second over all connections; connections are opened as needed, up to `connections`. Without it all
   * connections are opened, and each sends its next request as soon as the last one is answered.
   */
  perSecond?: number;
  users: number[];
  promotions: number[];
  /** The clients that the requests come from, in turn, as a trusted proxy tells them. */
  addresses?: string[];
  /** Connections that each send some requests for a page of the largest size at once, and read no answer. */
  silentReaders?: SilentReaders[];
}

interface SilentReaders {
  port: number;
  connections: number;
  requests: number;
}

export interface LoadReport {
  /** Number of answers by status. Status 0: the connection was closed without an answer. */
  statuses: Record<string, number>;
  /**
   * The first five answers that are 500, 502, or a 503 or 429 without Retry-After, as text. A change whose outcome is
   * unknown has none.
   */
  unexpected: string[];
  seconds: number;
  /** Requests due by `perSecond` that were not sent, because every connection was waiting for an answer. */
  unsent: number;
  /** Milliseconds to an answer, of served and of rejected (503 or 429) requests. */
  served: Percentiles;
  rejected: Percentiles;
}

interface Percentiles {
  p50: number;
  p99: number;
  max: number;
}

const [, , text] = process.argv;
if (text !== undefined) run(JSON.parse(text) as LoadPlan);

function run(plan: LoadPlan): void {
  const { perSecond } = plan;
  const started = performance.now();
  const endsAt = started + plan.forMs;
  const statuses: Record<string, number> = {};
  const unexpected: string[] = [];
  const served: number[] = [];
  const rejected: number[] = [];
  let sent = 0;
  let handled = 0;
  let unsent = 0;

  interface Connection {
    socket: Socket;
    sentAt: number;
    isChange: boolean;
    text: string;
  }
  const idle: Connection[] = [];
  let opened = 0;

  function open(): void {
    opened += 1;
    const connection: Connection = { socket: connect(plan.port, '127.0.0.1'), sentAt: 0, isChange: false, text: '' };
    connection.socket.setEncoding('latin1').setNoDelay(true);
    connection.socket.on('connect', () => send(connection));
    connection.socket.on('data', (chunk: string) => {
      connection.text += chunk;
      const end = connection.text.indexOf('\r\n\r\n');
      if (end === -1) return;
      const head = connection.text.slice(0, end);
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
      if (connection.text.length < end + 4 + length) return;
      record(connection, head);
      connection.text = '';
      connection.sentAt = 0;
      if (!/\r\nconnection: close/i.test(head)) onAnswered(connection);
    });
    connection.socket.on('error', () => undefined);
    connection.socket.on('close', () => {
      if (connection.sentAt > 0) statuses[0] = (statuses[0] ?? 0) + 1;
      opened -= 1;
      if (perSecond === undefined && performance.now() < endsAt) setTimeout(open, 50);
    });
  }

  function record(connection: Connection, head: string): void {
    const status = head.slice(9, 12);
    statuses[status] = (statuses[status] ?? 0) + 1;
    const isRejected = status === '503' || status === '429';
    if (connection.sentAt > 0) (isRejected ? rejected : served).push(performance.now() - connection.sentAt);
    const isUnknown = connection.isChange && connection.text.includes('"code":"outcome_unknown"');
    const isUnexpected = isRejected
      ? !isUnknown && !/\r\nretry-after: \d/i.test(head)
      : status === '500' || status === '502';
    if (isUnexpected && unexpected.length < 5) unexpected.push(connection.text);
  }

  function onAnswered(connection: Connection): void {
    if (perSecond === undefined) send(connection);
    else idle.push(connection);
  }

  function sendDueRequests(perSecond: number): void {
    const due = ((performance.now() - started) / 1_000) * perSecond;
    for (; handled < due; handled += 1) {
      let connection = idle.pop();
      while (connection && !connection.socket.writable) connection = idle.pop();
      if (connection) send(connection);
      else if (opened < plan.connections) open();
      else unsent += 1;
    }
  }

  function send(connection: Connection): void {
    if (performance.now() >= endsAt) return;
    sent += 1;
    connection.sentAt = performance.now();
    const text = requestText(sent);
    connection.isChange = text.startsWith('POST');
    connection.socket.write(withAddress(text, sent));
  }

  function withAddress(text: string, number: number): string {
    const address = plan.addresses?.[number % plan.addresses.length];
    return address === undefined ? text : text.replace('\r\n', `\r\nX-Forwarded-For: ${address}\r\n`);
  }

  function requestText(number: number): string {
    const user = plan.users[number % plan.users.length];
    const promotion = plan.promotions[Math.floor(Math.random() * plan.promotions.length)];
    switch (number % 6) {
      case 0:
        return post('/subscriptions', { user_id: user, promotion_id: promotion });
      case 1:
        return post('/users', { first_name: 'F', last_name: 'L', email: `${process.pid}-${number}@flood.example` });
      case 2:
        return get('/promotions?limit=10');
      case 3:
        return get(`/users/${user}`);
      default:
        return get(`/promotions/${promotion}`);
    }
  }

  for (const readers of plan.silentReaders ?? []) {
    for (let opened = 0; opened < readers.connections; opened += 1) openSilentReader(readers, endsAt);
  }
  if (perSecond !== undefined) setInterval(() => sendDueRequests(perSecond), 5);
  else for (let count = 0; count < plan.connections; count += 1) open();
  setTimeout(() => {
    const report: LoadReport = {
      statuses,
      unexpected,
      unsent,
      seconds: (performance.now() - started) / 1_000,
      served: percentiles(served),
      rejected: percentiles(rejected),
    };
    process.stdout.write(JSON.stringify(report), () => process.exit(0));
  }, plan.forMs);
}

/** Connects again when its connection is closed. The system takes some megabytes of each connection by itself. */
function openSilentReader(readers: SilentReaders, endsAt: number): void {
  const request = 'GET /promotions?limit=1000&cursor=cDIuLjEwMQ HTTP/1.1\r\nHost: localhost\r\n\r\n'; // p2..101
  const socket = connect(readers.port, '127.0.0.1', () => socket.write(request.repeat(readers.requests)));
  socket.pause().on('error', () => undefined);
  socket.on('close', () => {
    if (performance.now() < endsAt) setTimeout(openSilentReader, 50, readers, endsAt);
  });
}

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
}

function post(path: string, body: object): string {
  const json = JSON.stringify(body);
  return `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${json.length}\r\n\r\n${json}`;
}

function percentiles(values: number[]): Percentiles {
  values.sort((a, b) => a - b);
  const at = (share: number) => Math.round(values[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0);
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
