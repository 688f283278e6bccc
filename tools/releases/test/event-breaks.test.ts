// What breaks subscribers of the events is found, and nothing else is.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { listEventBreaks } from '../event-breaks.ts';

// biome-ignore lint/suspicious/noExplicitAny: a document may have any shape
type Json = any;

const document: Json = JSON.parse(readFileSync(join(import.meta.dirname, '../../../docs/asyncapi.json'), 'utf8'));

/** The breaks of a copy that `change` has changed. */
function breaksOf(change: (copy: Json) => void): string[] {
  const copy = structuredClone(document);
  change(copy);
  return listEventBreaks(document, copy);
}

const name = 'promotion.created';
const data = (copy: Json) => copy.components.schemas[name];
const envelope = (copy: Json) => copy.components.schemas.envelope;
const payload = (copy: Json) => copy.components.messages[name].payload.allOf[1].properties;

describe('a change that breaks subscribers is named', () => {
  test.each<[string, (copy: Json) => void, string]>([
    ['an event is gone', (copy) => delete copy.components.messages['user.deleted'], 'the event user.deleted is gone'],
    [
      'an event has another type',
      (copy) => (copy.components.messages[name].name = 'promopulse.promotion.created.v2'),
      `${name}: the type was promopulse.promotion.created.v1 and is promopulse.promotion.created.v2`,
    ],
    [
      'an event names another schema',
      (copy) => (payload(copy).dataschema.const = 'urn:other'),
      `${name}: the dataschema was urn:promopulse:schema:${name}:1 and is urn:other`,
    ],
    [
      'an event names no schema',
      (copy) => delete payload(copy).dataschema,
      `${name}: the dataschema was urn:promopulse:schema:${name}:1 and is absent`,
    ],
    [
      'an event has another routing key',
      (copy) => (copy.channels[name].address = 'promotions.created'),
      `${name}: the routing key was ${name} and is promotions.created`,
    ],
    [
      'an event comes by another exchange',
      (copy) => (copy.channels[name].bindings.amqp.exchange.name = 'other'),
      `${name}: the exchange was promopulse.events (topic) of the virtual host / and is other (topic) of the virtual host /`,
    ],
    [
      'an event is of another media type',
      (copy) => (copy.components.messages[name].contentType = 'application/json'),
      `${name}: the content type was application/cloudevents+json and is application/json`,
    ],
    ['a field is gone', (copy) => delete data(copy).properties.name, `${name}: name is gone`],
    ['a field may be absent', (copy) => data(copy).required.splice(1, 1), `${name}: name may be absent now`],
    [
      'a field may be null',
      (copy) => (data(copy).properties.name.type = ['string', 'null']),
      `${name}: name: null may come now`,
    ],
    [
      'a field has another type',
      (copy) => (data(copy).properties.version.type = 'string'),
      `${name}: version: string may come now`,
    ],
    [
      'a value may come that never came',
      (copy) => data(copy).properties.status.enum.push('paused'),
      `${name}: status: the value paused may come now`,
    ],
    [
      'a text may be longer',
      (copy) => (data(copy).properties.name.maxLength = 500),
      `${name}: name: maxLength has become wider`,
    ],
    [
      'a field has another format',
      (copy) => (data(copy).properties.start_at.format = 'date'),
      `${name}: start_at: format was date-time and is date`,
    ],
    [
      'an attribute of the envelope is gone',
      (copy) => delete envelope(copy).properties.epoch,
      'envelope: epoch is gone',
    ],
  ])('%s', (_title, change, expected) => {
    expect(breaksOf(change)).toEqual([expected]);
  });
});

describe('a change that breaks no subscriber is not named', () => {
  test.each<[string, (copy: Json) => void]>([
    ['none', () => undefined],
    [
      'a new event',
      (copy) => {
        copy.components.schemas['promotion.renamed'] = data(copy);
        copy.components.messages['promotion.renamed'] = copy.components.messages[name];
      },
    ],
    [
      'a new required field',
      (copy) => {
        data(copy).properties.terms = { type: 'string' };
        data(copy).required.push('terms');
      },
    ],
    ['a new attribute of the envelope', (copy) => (envelope(copy).properties.tenant = { type: 'string' })],
    ['a field is always there', (copy) => envelope(copy).required.push('dataschema')],
    ['a field is never null', (copy) => (data(copy).properties.description = { type: 'string', maxLength: 4_000 })],
    ['a text is shorter', (copy) => (data(copy).properties.name.maxLength = 100)],
    ['a value comes no more', (copy) => data(copy).properties.status.enum.pop()],
    ['other descriptions and examples', (copy) => Object.assign(data(copy), { description: 'Another.', examples: [] })],
  ])('%s', (_title, change) => {
    expect(breaksOf(change)).toEqual([]);
  });
});
