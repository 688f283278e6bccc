// Golden events: bodies as each release has sent them. Every service that receives one of them understands it today.
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { eventData } from '@promopulse/shared/contracts/index';
import { bindingsOf, isConsumed, matchesBinding } from '@promopulse/shared/contracts/queues';
import { readMessage } from '@promopulse/shared/projections/events/events';
import { projections as ofEngagement } from '../services/engagement/src/entities.ts';
import { projections as ofSubscriptions } from '../services/subscriptions/src/active-check/projections.ts';

const folder = new URL('golden-events/', import.meta.url);
/** Such as `0.1.0-user.created.json`. */
const golden = readdirSync(folder).map((file) => ({ file, name: file.slice(file.indexOf('-') + 1, -'.json'.length) }));
const receivers = [ofSubscriptions, ofEngagement];

const received = receivers.flatMap((projections) => {
  const { service } = projections;
  return golden
    .filter(({ name }) => bindingsOf(service).some((binding) => matchesBinding(binding, name)))
    .map(({ file, name }) => ({ service, file, name, projections }));
});

test.each(received)('$service understands $file', ({ service, file, name, projections }) => {
  const body = readFileSync(new URL(file, folder), 'utf8');
  const { source, type } = JSON.parse(body);
  expect(type).toBe(`promopulse.${name}.v1`);
  const read = readMessage({ body, userId: source.split('/').at(-1) }, { projections, ownUser: service });
  expect(read.kind).toBe(name === 'relay.heartbeat' ? 'heartbeat' : 'state');
});

test('every event that a service receives has a golden one', () => {
  const names = Object.keys(eventData).filter(isConsumed);
  expect([...new Set(golden.map(({ name }) => name))].sort()).toEqual(names.sort());
});
