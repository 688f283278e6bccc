// The envelope of every event, CloudEvents 1.0 JSON (https://github.com/cloudevents/spec), and the field types of its data.
import { z } from 'zod';

export const id = z.int().positive();

export const version = z.int().positive();

/** ISO 8601 with an offset or `Z`. */
export const time = z.iso.datetime({ offset: true });

/** ISO 8601 in UTC, as `presentTime` writes it. */
export const utcTime = z.iso.datetime().meta({ override: { type: 'string', format: 'date-time' } });

/** `requestid`, `actor`, `traceparent`, `epoch`, `lead` and `sequencenumber` are extensions. */
export const envelope = z.object({
  specversion: z.literal('1.0').meta({ description: 'The version of CloudEvents.' }),
  id: z.string().min(1).meta({ description: 'A UUID. A repetition of the same event has the same id.' }),
  source: z.string().min(1).meta({ description: 'The service that sends it, such as `/promopulse/promotions`.' }),
  type: z.string().min(1).meta({ description: 'What has happened, and the version of the contract of `data`.' }),
  subject: z.string().meta({ description: 'The id of what the event is about; of a heartbeat, the service.' }),
  time: time.meta({ description: 'When it was recorded, by the clock of the database of its service.' }),
  datacontenttype: z.literal('application/json').meta({ description: 'The media type of `data`.' }),
  dataschema: z.string().min(1).optional().meta({
    description: 'Names the JSON Schema of `data`. Events of release 0.1.0 have none.',
  }),
  requestid: z.string().optional().meta({ description: 'The id of the HTTP request that caused the event.' }),
  actor: z.string().optional().meta({
    description: 'Who asked for the change: an API key, a subject or a user, by an id that is no personal data.',
  }),
  traceparent: z.string().optional().meta({ description: 'The W3C trace context of the request.' }),
  epoch: z.string().optional().meta({
    description: 'The life of the database that recorded the event. Another one begins after a restore.',
  }),
  lead: z.string().optional().meta({ description: 'The lead of the relay that published the event.' }),
  sequencenumber: z
    .int()
    .nonnegative()
    .optional()
    .meta({
      description:
        'Counts the events of a lead, from 1 without a gap. In a heartbeat: the number of the last event before it, ' +
        '0 before the first.',
    }),
  data: z.unknown().meta({ description: 'The whole public state of what the event is about. Never personal data.' }),
});

export type CloudEvent = z.infer<typeof envelope>;

/** A request id that the gateway accepts from a caller. */
export const validRequestId = /^[A-Za-z0-9._:-]{1,128}$/;

export const contentType = 'application/cloudevents+json';
