// The rows that no queue took. They must not hold up the others, so they leave the waiting rows and the watermark, and
// stay until a queue takes them. The oldest of each event name is tried about once a second. When it is taken, the others
// of its name follow in chunks, with a batch of waiting rows between two chunks.
import type { Leading, OutboxRow } from './lead.ts';
import { statements } from './statements.ts';

const chunkSize = 250;

export class ParkedRows {
  readonly #leading: Leading;
  /** Name whose oldest row was taken → id up to which its rows were tried since. Published rows are not passed again. */
  readonly #routable = new Map<string, string>();

  constructor(leading: Leading) {
    this.#leading = leading;
  }

  /** Whether `publishNext` has something to do. */
  get isRoutable(): boolean {
    return this.#routable.size > 0;
  }

  /** Tries the oldest row of each name. */
  async probe(): Promise<void> {
    const rows = await this.#leading.leaderConnection.query<OutboxRow>(statements.oldestParked);
    for (const { id, name } of await this.#publish(rows)) {
      if (!this.#routable.has(name)) this.#routable.set(name, id);
    }
  }

  /** Publishes the next chunk of each name that a queue takes. */
  async publishNext(): Promise<void> {
    for (const [name, lastId] of this.#routable) {
      const values = [name, lastId, chunkSize];
      const rows = await this.#leading.leaderConnection.query<OutboxRow>(statements.readParked, values);
      const confirmed = await this.#publish(rows);
      // Fewer: there are no more rows, or one was not taken. The next probe begins with it.
      if (confirmed.length < chunkSize) this.#routable.delete(name);
      else this.#routable.set(name, confirmed.at(-1)?.id ?? lastId);
    }
  }

  /** @returns the rows that were confirmed, and are marked */
  async #publish(rows: readonly OutboxRow[]): Promise<OutboxRow[]> {
    const { leaderConnection, broker, lead } = this.#leading;
    if (rows.length === 0) return [];
    const outcomes = await broker.publish(rows.map((row) => lead.toMessage(row)));
    const confirmed = rows.filter((_, index) => outcomes[index] === 'confirmed');
    if (confirmed.length > 0) await leaderConnection.query(statements.mark, [confirmed.map(({ id }) => id)]);
    return confirmed;
  }
}
