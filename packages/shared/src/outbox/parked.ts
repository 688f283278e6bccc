// The rows that no queue took. They must not hold up the others, so they leave the waiting rows and the watermark, and
// stay until a queue takes them. The oldest of each event name is tried about once a second. When it is taken, the others
// of its name follow in chunks, with a batch of waiting rows between two chunks.
import type { Leading, OutboxRow } from './lead.ts';
import { statements } from './statements.ts';

const chunkSize = 250;

export class ParkedRows {
  readonly #leading: Leading;
  /** Names whose oldest row was taken, so that the others can follow. */
  readonly #routable = new Set<string>();

  constructor(leading: Leading) {
    this.#leading = leading;
  }

  /** Whether `publishNext` has something to do. */
  get isRoutable(): boolean {
    return this.#routable.size > 0;
  }

  /** Tries the oldest row of each name. */
  async probe(): Promise<void> {
    for (const name of await this.#publish(statements.oldestParked, [])) this.#routable.add(name);
  }

  /** Publishes the next chunk of each name that a queue takes. */
  async publishNext(): Promise<void> {
    for (const name of this.#routable) {
      const confirmed = await this.#publish(statements.readParked, [name, chunkSize]);
      if (confirmed.length < chunkSize) this.#routable.delete(name); // no more rows, or a row was not taken
    }
  }

  /** @returns the names of the rows that were confirmed, and are marked */
  async #publish(select: { text: string }, values: readonly unknown[]): Promise<string[]> {
    const { leaderConnection, broker, lead } = this.#leading;
    const rows = await leaderConnection.query<OutboxRow>(select, values);
    if (rows.length === 0) return [];
    const outcomes = await broker.publish(rows.map((row) => lead.toMessage(row)));
    const confirmed = rows.filter((_, index) => outcomes[index] === 'confirmed');
    if (confirmed.length > 0) await leaderConnection.query(statements.mark, [confirmed.map(({ id }) => id)]);
    return confirmed.map(({ name }) => name);
  }
}
