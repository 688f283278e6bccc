// Notices that messages of an owner are missing. Within one session of the consumer and one lead of the owner's relay the
// messages are numbered without a gap. What was lost between two sessions or two leads cannot be seen, so either change
// counts as a loss (decision 0015).
import type { OwnerName } from './store.ts';

export interface Numbered {
  session: string;
  lead: string;
  /** Of an event: its own number. Of a heartbeat: the number of the last event before it. */
  number: number;
  isHeartbeat: boolean;
}

/** `outdated`: a message of a lead that another has replaced. It says nothing about a loss. */
export type Receipt = 'session' | 'lead' | 'gap' | 'outdated' | undefined;

interface Position {
  session: string;
  lead: string;
  number: number;
}

const maxEndedLeads = 100;

/** Per owner: no position before the first message, then the highest number received in the current session and lead. */
export class LossDetector {
  readonly #positions = new Map<OwnerName, Position>();
  readonly #endedLeads = new Set<string>();

  /** Call it for every message once, in the order of the queue. */
  receive(owner: OwnerName, { session, lead, number, isHeartbeat }: Numbered): Receipt {
    const position = this.#positions.get(owner);
    if (position?.session !== session) {
      this.#positions.set(owner, { session, lead, number });
      return 'session';
    }
    if (position.lead !== lead) {
      if (this.#endedLeads.has(lead)) return 'outdated';
      this.#endLead(position.lead);
      this.#positions.set(owner, { session, lead, number });
      return 'lead';
    }
    const expected = isHeartbeat ? position.number : position.number + 1;
    position.number = Math.max(position.number, number);
    return number > expected ? 'gap' : undefined;
  }

  #endLead(lead: string): void {
    this.#endedLeads.add(lead);
    for (const oldest of this.#endedLeads) if (this.#endedLeads.size > maxEndedLeads) this.#endedLeads.delete(oldest);
  }
}
