// Runs a service as its own main.ts does, but over a broker that kills the process at the worst moment:
//   node chaos/service-main.ts promotions after-publish   between an event's confirm and its mark in the outbox
//   node chaos/service-main.ts subscriptions before-ack   between the consumer's commit and its acknowledgement
// It waits for that moment from SIGUSR2 on. The service knows nothing of it.
import type { Broker } from '../packages/shared/src/broker.ts';
import { runProcess } from '../packages/shared/src/process.ts';
import { connectRabbit } from '../packages/shared/src/rabbit-broker.ts';
import { startService } from '../packages/shared/src/service.ts';
import { promotions } from '../services/promotions/src/service.ts';
import { subscriptions } from '../services/subscriptions/src/service.ts';
import { users } from '../services/users/src/service.ts';

const heartbeat = 'relay.heartbeat';
let armed = false;
process.on('SIGUSR2', () => {
  armed = true;
});
const die = (): never => {
  process.kill(process.pid, 'SIGKILL');
  throw new Error('a process outlived its SIGKILL');
};

const deadly: Record<string, (broker: Broker) => Broker> = {
  'after-publish': (broker) => ({
    ...broker,
    publish: async (messages) => {
      const outcomes = await broker.publish(messages);
      const isEvent = messages.some(({ routingKey }) => routingKey !== heartbeat);
      return armed && isEvent && outcomes.includes('confirmed') ? die() : outcomes;
    },
  }),
  'before-ack': (broker) => ({
    ...broker,
    consume: (consumer) =>
      broker.consume({
        ...consumer,
        handle: async (message) => {
          await consumer.handle(message);
          if (armed && message.routingKey !== heartbeat) die();
        },
      }),
  }),
};

const [name, moment] = process.argv.slice(2);
const definition = [users, promotions, subscriptions].find((each) => each.name === name);
const makeDeadly = deadly[moment ?? ''];
const { AMQP_URL } = process.env;
if (!definition || !makeDeadly || !AMQP_URL) throw new Error('give a service, a moment and AMQP_URL');

await runProcess(`${name} service`, () =>
  startService(definition, process.env, {
    connectBroker: (options) => makeDeadly(connectRabbit(AMQP_URL, options)),
  }),
);
