// Transactional outbox and its relay. The promise: an event is published if and only if its change was committed.
// A row is written in the change's own transaction; the relay publishes it with a confirm and only then marks it,
// so a crash anywhere between publishes it again and never loses it.
// One relay leads per schema (a session advisory lock): rows go out in id order, and for one aggregate that is the
// order of its versions. During a change of leader a row may go out twice or late; consumers compare versions.
import { type EventName, eventType } from '../contracts/index.ts';
import { isConsumed } from '../contracts/queues.ts';
import type { OutgoingMessage } from '../messaging/broker.ts';

export interface WaitingRow {
  id: string;
  event_id: string;
  name: EventName;
  subject: string;
  data: unknown;
  request_id: string | null;
  reply_to: string | null;
  created_at: Date;
}

export function toMessage(row: Omit<WaitingRow, 'id'>, source: string): OutgoingMessage {
  const event = {
    specversion: '1.0',
    id: row.event_id,
    source,
    type: eventType(row.name),
    subject: row.subject,
    time: row.created_at.toISOString(),
    datacontenttype: 'application/json',
    ...(row.request_id && { requestid: row.request_id }),
    data: row.data,
  };
  return {
    id: row.event_id,
    routingKey: row.name,
    body: JSON.stringify(event),
    mandatory: isConsumed(row.name),
    replyTo: row.reply_to ?? undefined,
  };
}
