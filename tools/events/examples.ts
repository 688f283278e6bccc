// What people read about each message: a sentence, and an example.
import { heartbeatName } from '@promopulse/shared/contracts/heartbeat';
import { dataSchema, type EventName, eventType } from '@promopulse/shared/contracts/index';
import { eventPrefix, services } from '@promopulse/shared/contracts/services';

/** By name, so that an event without a sentence is found by a test. */
export const summaries: Record<string, string> = {
  'promotion.created': 'A promotion was created. It is a draft.',
  'promotion.updated': 'A field of a promotion was edited.',
  'promotion.status_changed': 'A promotion was activated, or it has ended.',
  'user.created': 'A user was created. The event has the id and nothing else about the person.',
  'user.updated': 'A field of a user was changed. The event names the fields and has none of their values.',
  'user.deleted': 'A user was deleted. No release sends it yet; subscribers must understand it.',
  'subscription.created': 'A user has subscribed to a promotion.',
  'subscription.deactivated': 'A user has left a promotion.',
  'subscription.reactivated': 'A user has subscribed again to a promotion that they had left.',
  'engagement.counted':
    'More events of a promotion were counted. It is sent at most once in an interval, and has the totals of all time.',
  [heartbeatName]: 'The relay of a service has published everything that was committed before the watermark.',
};

const promotion = {
  id: 12,
  name: 'Summer Sale',
  description: 'Get 20% off everything',
  status: 'draft',
  start_at: '2026-06-01T00:00:00Z',
  end_at: '2026-06-30T23:59:59Z',
  created_at: '2026-05-01T09:30:00.125Z',
  updated_at: '2026-05-01T09:30:00.125Z',
  created_by: null,
  version: 1,
};
const subscription = {
  id: 31,
  version: 1,
  user_id: 7,
  promotion_id: 12,
  is_active: true,
  created_at: '2026-06-02T08:15:00.5Z',
};

const exampleData: Record<string, object> = {
  'promotion.created': promotion,
  'promotion.updated': { ...promotion, name: 'Summer Sale 2026', updated_at: '2026-05-02T09:30:00Z', version: 2 },
  'promotion.status_changed': { ...promotion, status: 'active', updated_at: '2026-06-01T00:00:02.25Z', version: 3 },
  'user.created': { id: 7, version: 1 },
  'user.updated': { id: 7, version: 1, changed: ['email'] },
  'user.deleted': { id: 7, version: 2 },
  'subscription.created': subscription,
  'subscription.deactivated': { ...subscription, version: 2, is_active: false },
  'subscription.reactivated': { ...subscription, version: 3 },
  'engagement.counted': {
    ...{ id: 12, version: 4, counted_at: '2026-06-02T08:16:00Z' },
    view: { count: 120, unique: 80 },
    click: { count: 14, unique: 12 },
    redeem: { count: 3, unique: 3 },
  },
  [heartbeatName]: { service: 'promotions', watermark: '2026-06-02T08:15:01.042Z', position: 4_711 },
};

/** The service that sends a message, by the name of the message: `user.created` is sent by `users`. */
export function senderOf(name: EventName): string {
  return name === heartbeatName
    ? 'promotions'
    : String(services.find((service) => name.startsWith(eventPrefix(service))));
}

/** @returns undefined for a message without example data */
export function exampleEvent(name: EventName): object | undefined {
  const data = exampleData[name];
  if (!data) return undefined;
  const isHeartbeat = name === heartbeatName;
  return {
    specversion: '1.0',
    id: '6d1f1c1e-7a51-4a8e-9d0b-0c6f3f0a7b11',
    source: `/promopulse/${senderOf(name)}`,
    type: eventType(name),
    subject: isHeartbeat ? senderOf(name) : String((data as { id: number }).id),
    time: '2026-06-02T08:15:00.500Z',
    datacontenttype: 'application/json',
    dataschema: dataSchema(name),
    ...(!isHeartbeat && { requestid: '0f2a9d7e-8a34-4a58-9a3c-0b1a5c7d9e10' }),
    epoch: '4f8c2f0c-9a0e-4a1e-8f57-2a6f0a5d3c21',
    lead: 'b3a5c1de-1c1f-4c0a-9d6e-7f1b2c3d4e5f',
    sequencenumber: 7,
    data,
  };
}
