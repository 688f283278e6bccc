// The AsyncAPI 3 document: which messages PromoPulse sends, over which exchanges, in which form.
import { contentType } from '@promopulse/shared/contracts/envelope';
import { heartbeatName } from '@promopulse/shared/contracts/heartbeat';
import { dataSchema, type EventName, eventType } from '@promopulse/shared/contracts/index';
import { topologyOf } from '@promopulse/shared/messaging/rabbitmq/topology';
import packageJson from '../../package.json' with { type: 'json' };
import { exampleEvent, senderOf, summaries } from './examples.ts';
import { dataSchemas, envelopeSchema, eventNames } from './schemas.ts';

const about = `Every committed change of a user, a promotion or a subscription is one message: a [CloudEvent](https://cloudevents.io) 1.0 in structured JSON, whose
\`data\` is the whole public state and its version. It never holds personal data. Views, clicks and redemptions are no
messages of their own: \`engagement.counted\` has the totals of a promotion, at intervals.

**Delivery** is at least once, and events of one thing may come twice or late. Keep the \`version\` of what you have
applied, and ignore an event with a lower one. Ignore fields and event names that you do not know: a later release adds
some. A change that is not compatible gets another \`type\` (\`.v2\`) and another \`dataschema\`.

**To receive events,** bind a queue of your own to the exchange \`${topologyOf('').events}\`: by \`#\` for all, or by a
routing key or pattern such as \`promotion.*\`. Heartbeats have an exchange of their own, \`${topologyOf('').heartbeats}\`;
most subscribers do not need them. \`AMQP_PREFIX\` is put before every name.`;

export function asyncApiDocument(): object {
  return {
    asyncapi: '3.0.0',
    id: 'urn:promopulse:events',
    info: {
      title: 'PromoPulse events',
      version: packageJson.version,
      description: about,
      license: { name: packageJson.license, url: 'https://opensource.org/license/mit' },
    },
    defaultContentType: contentType,
    servers: {
      compose: {
        host: 'rabbitmq:5672',
        protocol: 'amqp',
        protocolVersion: '0.9.1',
        description: 'RabbitMQ of docker-compose.yml. With `npm start` messages stay inside the process.',
      },
    },
    channels: Object.fromEntries(eventNames.map((name) => [name, channelOf(name)])),
    operations: Object.fromEntries(eventNames.map((name) => [`send.${name}`, sendingOf(name)])),
    components: {
      messages: Object.fromEntries(eventNames.map((name) => [name, messageOf(name)])),
      schemas: { envelope: envelopeSchema(), ...dataSchemas() },
    },
  };
}

function channelOf(name: EventName): object {
  const exchange = topologyOf('').exchangeFor(name);
  const type = name === heartbeatName ? 'direct' : 'topic';
  return {
    address: name,
    title: name,
    summary: summaries[name],
    servers: [{ $ref: '#/servers/compose' }],
    messages: { [name]: { $ref: `#/components/messages/${name}` } },
    bindings: {
      amqp: {
        is: 'routingKey',
        exchange: { name: exchange, type, durable: true, autoDelete: false, vhost: '/' },
        bindingVersion: '0.3.0',
      },
    },
  };
}

function sendingOf(name: EventName): object {
  const sender = name === heartbeatName ? 'Every service' : `The service ${senderOf(name)}`;
  return {
    action: 'send',
    title: `Send ${name}`,
    summary: `${sender} sends it.`,
    channel: { $ref: `#/channels/${name}` },
    messages: [{ $ref: `#/channels/${name}/messages/${name}` }],
    bindings: { amqp: { deliveryMode: 2, bindingVersion: '0.3.0' } },
  };
}

function messageOf(name: EventName): object {
  const example = exampleEvent(name);
  return {
    name: eventType(name),
    title: name,
    summary: summaries[name],
    contentType,
    payload: {
      allOf: [
        { $ref: '#/components/schemas/envelope' },
        {
          type: 'object',
          properties: {
            type: { const: eventType(name) },
            dataschema: { const: dataSchema(name) },
            data: { $ref: `#/components/schemas/${name}` },
          },
        },
      ],
    },
    ...(example && { examples: [{ name: 'example', payload: example }] }),
  };
}
