// What a relay says of itself.
import { z } from 'zod';
import { time } from './envelope.ts';

/**
 * Sent about once a second by each relay, but not behind a backlog of 10,000 events or more: everything its service
 * committed before `watermark` has been published.
 */
export const relayHeartbeat = z.object({ service: z.string(), watermark: time });
