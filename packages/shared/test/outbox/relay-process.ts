// A relay as a process of its own, for tests that kill it. It reads the schema `users` at DATABASE_URL and publishes to
// AMQP_URL. Each confirm is delayed by 20 ms, so that a kill often falls between the publish of an event and its mark.
// Writes "leads" at the first publish, which is the first heartbeat at the latest.
import { setTimeout as sleep } from 'node:timers/promises';
import { openDatabase } from '../../src/database/database.ts';
import { connectRabbit } from '../../src/messaging/rabbitmq/broker.ts';
import { OutboxMessage } from '../../src/outbox/outbox.ts';
import { Publication } from '../../src/outbox/publication.ts';
import { startRelay } from '../../src/outbox/relay.ts';
import { brokerOptions } from '../../src/service/service-broker.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const { DATABASE_URL = '', AMQP_URL = '', AMQP_PREFIX = '' } = process.env;
const log = createLogger({ service: 'relay', level: 'warn' });
const database = await openDatabase({
  url: DATABASE_URL,
  schema: 'users',
  entities: [OutboxMessage, Publication],
  migrations: import.meta.dirname,
});
const broker = connectRabbit({ url: AMQP_URL }, brokerOptions(AMQP_PREFIX, log));
let leads = false;
startRelay({
  database,
  log,
  broker: {
    publish: async (messages) => {
      if (!leads) process.stdout.write('leads\n');
      leads = true;
      const outcomes = await broker.publish(messages);
      await sleep(20);
      return outcomes;
    },
  },
});
