// The broker of a service, and how often it retries a message.
import { isDatabaseUnavailable } from '../database/sqlstate.ts';
import type { Broker, BrokerOptions, RetryPolicy } from '../messaging/broker.ts';
import { connectRabbit } from '../messaging/rabbitmq/broker.ts';
import { rabbitEndpoint } from '../messaging/rabbitmq/endpoint.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import type { ServiceConfig } from './service-config.ts';

/** Five attempts within 1.5 to 3 s. Transient errors are retried without a limit. */
export const retryPolicy: RetryPolicy = {
  attempts: 5,
  delayMs: 200,
  maxDelayMs: 5_000,
  isTransient: isDatabaseUnavailable,
};

/** @param connectOther connects to a broker other than RabbitMQ */
export function connectBroker(
  config: ServiceConfig,
  { log, tracing }: { log: Logger; tracing: Tracing },
  connectOther?: (options: BrokerOptions) => Broker,
): Broker {
  const connect = connectOther ?? ((settings) => connectRabbit(rabbitEndpoint(config), settings));
  return connect({ ...brokerOptions(config.AMQP_PREFIX, log), tracing });
}

export function brokerOptions(prefix: string, log: Logger): BrokerOptions {
  return { prefix, log, retry: retryPolicy };
}
