// A process that asks as much as it can: plain sockets, so that it costs less than what it asks. Reads its plan from
// the command line and writes what came of it as JSON.
import { connect, type Socket } from 'node:net';

export interface LoadPlan {
  port: number;
  connections: number;
  forMs: number;
  /**
   * Asked in all, on as many connections as it takes, up to `connections`. Without it all are opened, and each asks again
   * as soon as it is answered.
   */
  perSecond?: number;
  users: number[];
  promotions: number[];
}

export interface LoadReport {
  /** Answers by status; 0: the connection was closed without one. */
  statuses: Record<string, number>;
  /** A 503 or 429 without Retry-After, a 500, a 502: the first few, as text. */
  odd: string[];
  seconds: number;
  /** Due by `perSecond` when every connection was waiting for an answer. */
  unasked: number;
  /** Milliseconds to an answer: of what was served, and of what was refused. */
  served: Percentiles;
  refused: Percentiles;
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
  const ends = started + plan.forMs;
  const statuses: Record<string, number> = {};
  const odd: string[] = [];
  const served: number[] = [];
  const refused: number[] = [];
  let asked = 0;
  let begun = 0;
  let unasked = 0;

  interface Line {
    socket: Socket;
    askedAt: number;
    text: string;
  }
  const idle: Line[] = [];
  let opened = 0;

  function open(): void {
    opened += 1;
    const line: Line = { socket: connect(plan.port, '127.0.0.1'), askedAt: 0, text: '' };
    line.socket.setEncoding('latin1').setNoDelay(true);
    line.socket.on('connect', () => ask(line));
    line.socket.on('data', (chunk: string) => {
      line.text += chunk;
      const end = line.text.indexOf('\r\n\r\n');
      if (end === -1) return;
      const head = line.text.slice(0, end);
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
      if (line.text.length < end + 4 + length) return;
      note(line, head);
      line.text = '';
      line.askedAt = 0;
      if (!/\r\nconnection: close/i.test(head)) next(line);
    });
    line.socket.on('error', () => undefined);
    line.socket.on('close', () => {
      if (line.askedAt > 0) statuses[0] = (statuses[0] ?? 0) + 1;
      opened -= 1;
      if (perSecond === undefined && performance.now() < ends) setTimeout(open, 50);
    });
  }

  function note(line: Line, head: string): void {
    const status = head.slice(9, 12);
    statuses[status] = (statuses[status] ?? 0) + 1;
    const turnedAway = status === '503' || status === '429';
    if (line.askedAt > 0) (turnedAway ? refused : served).push(performance.now() - line.askedAt);
    const strange = turnedAway ? !/\r\nretry-after: \d/i.test(head) : status === '500' || status === '502';
    if (strange && odd.length < 5) odd.push(line.text);
  }

  function next(line: Line): void {
    if (perSecond === undefined) ask(line);
    else idle.push(line);
  }

  function askWhatIsDue(perSecond: number): void {
    const due = ((performance.now() - started) / 1_000) * perSecond;
    for (; begun < due; begun += 1) {
      let line = idle.pop();
      while (line && !line.socket.writable) line = idle.pop();
      if (line) ask(line);
      else if (opened < plan.connections) open();
      else unasked += 1;
    }
  }

  function ask(line: Line): void {
    if (performance.now() >= ends) return;
    asked += 1;
    line.askedAt = performance.now();
    line.socket.write(requestText(asked));
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
        return 'GET /promotions?limit=10 HTTP/1.1\r\nHost: mesh\r\n\r\n';
      case 3:
        return `GET /users/${user} HTTP/1.1\r\nHost: mesh\r\n\r\n`;
      default:
        return `GET /promotions/${promotion} HTTP/1.1\r\nHost: mesh\r\n\r\n`;
    }
  }

  if (perSecond !== undefined) setInterval(() => askWhatIsDue(perSecond), 5);
  else for (let count = 0; count < plan.connections; count += 1) open();
  setTimeout(() => {
    const report: LoadReport = {
      statuses,
      odd,
      unasked,
      seconds: (performance.now() - started) / 1_000,
      served: percentiles(served),
      refused: percentiles(refused),
    };
    process.stdout.write(JSON.stringify(report), () => process.exit(0));
  }, plan.forMs);
}

function post(path: string, body: object): string {
  const json = JSON.stringify(body);
  return `POST ${path} HTTP/1.1\r\nHost: mesh\r\nContent-Type: application/json\r\nContent-Length: ${json.length}\r\n\r\n${json}`;
}

function percentiles(values: number[]): Percentiles {
  values.sort((a, b) => a - b);
  const at = (share: number) => Math.round(values[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0);
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
