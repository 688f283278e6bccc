// The envelope of every event, CloudEvents 1.0 JSON (https://github.com/cloudevents/spec), and the field types of its data.
import { z } from 'zod';

export const id = z.int().positive();

export const version = z.int().positive();

/** ISO 8601 with an offset or `Z`. */
export const time = z.iso.datetime({ offset: true });

/** ISO 8601 in UTC, as `presentTime` writes it. */
export const utcTime = z.iso.datetime().meta({ override: { type: 'string', format: 'date-time' } });

export const envelope = z.object({
  specversion: z.literal('1.0'),
  id: z.string().min(1),
  source: z.string().min(1),
  type: z.string().min(1),
  subject: z.string(),
  time,
  datacontenttype: z.literal('application/json'),
  /** CloudEvents extension: the id of the HTTP request that caused the event. */
  requestid: z.string().optional(),
  /** CloudEvents extension: the life of the owner's database that recorded the event (decision 0015). */
  epoch: z.string().optional(),
  /** CloudEvents extension: the lead of the relay that published the event. */
  lead: z.string().optional(),
  /**
   * CloudEvents extension: counts the events of a lead, from 1 without a gap. In a heartbeat: the number of the last event
   * before it, 0 before the first.
   */
  sequencenumber: z.int().nonnegative().optional(),
  data: z.unknown(),
});

export type CloudEvent = z.infer<typeof envelope>;

/** A request id that the gateway accepts from a caller. */
export const validRequestId = /^[A-Za-z0-9._:-]{1,128}$/;

export const contentType = 'application/cloudevents+json';
