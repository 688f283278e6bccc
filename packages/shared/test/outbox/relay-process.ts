// A relay as a process of its own, for tests that kill it: of the schema `users` at DATABASE_URL, to AMQP_URL.
// Its confirms take 20 ms longer than they would, so that a kill often falls between an event's publishing and its mark.
// Writes "leads" once it publishes for the first time, which its first heartbeat makes it do as soon as it leads.
import { setTimeout as sleep } from 'node:timers/promises';
import { openDatabase } from '../../src/database/database.ts';
import { connectRabbit } from '../../src/messaging/rabbitmq/broker.ts';
import { OutboxMessage } from '../../src/outbox/outbox.ts';
import { startRelay } from '../../src/outbox/relay.ts';
import { brokerOptions } from '../../src/service.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const { DATABASE_URL = '', AMQP_URL = '', AMQP_PREFIX = '' } = process.env;
const log = createLogger({ service: 'relay', level: 'warn' });
const database = await openDatabase({
  url: DATABASE_URL,
  schema: 'users',
  entities: [OutboxMessage],
  migrations: import.meta.dirname,
});
const broker = connectRabbit(AMQP_URL, brokerOptions(AMQP_PREFIX, log));
let leads = false;
startRelay({
  database,
  log,
  broker: {
    ...broker,
    publish: async (messages) => {
      if (!leads) process.stdout.write('leads\n');
      leads = true;
      const outcomes = await broker.publish(messages);
      await sleep(20);
      return outcomes;
    },
  },
});
