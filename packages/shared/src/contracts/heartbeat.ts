// The heartbeat of a relay.
import { z } from 'zod';
import { time } from './envelope.ts';

/**
 * Its name, which is also its routing key. Heartbeats have an exchange of their own, so that a subscriber of all events
 * gets events only. Only a binding that is this name takes them, and no pattern does.
 */
export const heartbeatName = 'relay.heartbeat';

/**
 * Says that everything the service committed before `watermark` has been published. Each relay sends one about once a
 * second, and none while 10,000 events or more wait in the outbox.
 */
export const relayHeartbeat = z.object({
  service: z.string(),
  watermark: time,
  /** The last id that the outbox has given. It never goes back in one epoch, so a lower one shows a set-back database. */
  position: z.int().nonnegative().optional(),
});
