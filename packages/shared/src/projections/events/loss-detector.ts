// Notices that messages of an owner are missing. Within one session of the consumer and one lead of the owner's relay the
// messages are numbered without a gap. What was lost between two sessions or two leads cannot be seen, so either change
// counts as a loss (decision 0015).
import type { ServiceName } from '../../contracts/services.ts';

export interface Numbered {
  session: string;
  lead: string;
  /** Of an event: its own number. Of a heartbeat: the number of the last event before it. */
  number: number;
  isHeartbeat: boolean;
}

export type Loss = 'session' | 'lead' | 'gap';

interface Position {
  session: string;
  lead: string;
  number: number;
}

/** Per owner: no position before the first message, then the highest number received in the current session and lead. */
export class LossDetector {
  readonly #positions = new Map<ServiceName, Position>();

  /**
   * Call it for every message once, in the order of the queue.
   * @returns what may have lost messages, undefined when nothing is missing
   */
  receive(owner: ServiceName, { session, lead, number, isHeartbeat }: Numbered): Loss | undefined {
    const position = this.#positions.get(owner);
    if (position?.session !== session || position.lead !== lead) {
      this.#positions.set(owner, { session, lead, number });
      return position?.session === session ? 'lead' : 'session';
    }
    const expected = isHeartbeat ? position.number : position.number + 1;
    position.number = Math.max(position.number, number);
    return number > expected ? 'gap' : undefined;
  }
}
