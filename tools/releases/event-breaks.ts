// What of a new AsyncAPI document breaks the subscribers of an old one. A subscriber ignores fields and events that it does
// not know; all others must come as before.
import { compareSchemas } from './schema-breaks.ts';

// biome-ignore lint/suspicious/noExplicitAny: a document may have any shape
type Json = any;

/** @returns one sentence for each break */
export function listEventBreaks(before: Json, after: Json): string[] {
  const { envelope, ...data } = before.components.schemas;
  return [
    ...compareData('envelope', { schema: envelope, document: before }, after),
    ...Object.entries<Json>(data).flatMap(([name, schema]) => {
      if (!after.components.messages[name]) return [`the event ${name} is gone`];
      return [
        ...changedFacts(name, factsOf(before, name), factsOf(after, name)),
        ...compareData(name, { schema, document: before }, after),
      ];
    }),
  ];
}

function compareData(name: string, old: { schema: Json; document: Json }, after: Json): string[] {
  const now = { schema: after.components.schemas[name], document: after };
  return compareSchemas(old, now, { direction: 'response', place: name });
}

/** By what a subscriber finds a message and tells what it is. */
function factsOf(document: Json, name: string): Record<string, string | undefined> {
  const message = document.components.messages[name];
  const channel = document.channels[name];
  const constants = message.payload.allOf.flatMap(({ properties = {} }: Json) => Object.entries<Json>(properties));
  const { name: exchange, type: exchangeType, vhost } = channel.bindings.amqp.exchange;
  return {
    'content type': message.contentType,
    type: message.name,
    dataschema: constants.find(([attribute]: [string]) => attribute === 'dataschema')?.[1].const,
    'routing key': channel.address,
    exchange: `${exchange} (${exchangeType}) of the virtual host ${vhost}`,
  };
}

/** A fact that was not there before breaks nobody. */
function changedFacts(name: string, old: ReturnType<typeof factsOf>, now: ReturnType<typeof factsOf>): string[] {
  return Object.entries(old).flatMap(([fact, was]) =>
    was === undefined || was === now[fact] ? [] : [`${name}: the ${fact} was ${was} and is ${now[fact] ?? 'absent'}`],
  );
}
