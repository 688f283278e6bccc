// The operator's command for the accounts of the services in RabbitMQ. It creates the account of each service with the
// permissions that the service needs (messaging/rabbitmq/permissions.ts) and no others. Repeating it changes nothing but
// the passwords. It uses RabbitMQ's management API; without that plugin, `print` shows the commands for rabbitmqctl.
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { type Environment, loadConfig } from '../config.ts';
import { services } from '../contracts/services.ts';
import { describeConnectionError } from '../messaging/rabbitmq/connection-error.ts';
import { certificates } from '../messaging/rabbitmq/endpoint.ts';
import { type BrokerPermissions, brokerPermissions } from '../messaging/rabbitmq/permissions.ts';

const usage = `Usage: broker-accounts apply    creates or changes the account of each service by RabbitMQ's management API
       broker-accounts print    prints the same as commands for rabbitmqctl, which asks for the passwords
Reads AMQP_PREFIX and RABBITMQ_VHOST (default /). "apply" also reads RABBITMQ_MANAGEMENT_URL, an administrator's, such
as https://admin:secret@mq.example.com:15671, RABBITMQ_MANAGEMENT_CA (the authority of its certificate, as PEM), and ${services.map(passwordVariable).join(', ')}.
BROKER_PASSWORD is the password of services that have none of their own. Each variable may be given as NAME_FILE.`;

const placeConfig = { AMQP_PREFIX: z.string().default(''), RABBITMQ_VHOST: z.string().default('/') };
const managementConfig = {
  RABBITMQ_MANAGEMENT_URL: z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' }),
  RABBITMQ_MANAGEMENT_CA: certificates.optional(),
};
const password = z.string().min(1);

function passwordVariable(service: string): string {
  return `${service.toUpperCase()}_BROKER_PASSWORD`;
}

/** RabbitMQ may still be starting. */
const applyTimeoutMs = 60_000;
const requestTimeoutMs = 5_000;
const retryDelayMs = 1_000;

async function apply(env: Environment): Promise<string> {
  const { AMQP_PREFIX, RABBITMQ_VHOST, RABBITMQ_MANAGEMENT_URL, RABBITMQ_MANAGEMENT_CA } = loadConfig(
    z.object({ ...placeConfig, ...managementConfig }),
    env,
  );
  const isCommonUsed = services.map(passwordVariable).some((name) => !env[name] && !env[`${name}_FILE`]);
  const common = isCommonUsed ? { BROKER_PASSWORD: password.optional() } : {};
  const { BROKER_PASSWORD } = loadConfig(z.object(common), env) as { BROKER_PASSWORD?: string };
  const passwordSchema = BROKER_PASSWORD === undefined ? password : password.default(BROKER_PASSWORD);
  const passwords = loadConfig(
    z.object(Object.fromEntries(services.map((service) => [passwordVariable(service), passwordSchema]))),
    env,
  );
  const put = managementClient(new URL(RABBITMQ_MANAGEMENT_URL), RABBITMQ_MANAGEMENT_CA);
  const vhost = encodeURIComponent(RABBITMQ_VHOST);
  for (const service of services) {
    const { configure, write, read, topic } = brokerPermissions(service, AMQP_PREFIX);
    await put(`users/${service}`, { password: passwords[passwordVariable(service)], tags: '' });
    await put(`permissions/${vhost}/${service}`, { configure, write, read });
    await put(`topic-permissions/${vhost}/${service}`, topic);
  }
  return `The accounts of ${services.join(', ')} are up to date.`;
}

/** @returns a function that repeats a request until RabbitMQ answers it, for a minute at most */
function managementClient(url: URL, ca: string | undefined): (path: string, body: object) => Promise<void> {
  const account = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  const headers = {
    authorization: `Basic ${Buffer.from(account).toString('base64')}`,
    'content-type': 'application/json',
  };
  const deadline = Date.now() + applyTimeoutMs;
  return async (path, body) => {
    for (;;) {
      const answer = await send(new URL(`/api/${path}`, url.origin), { method: 'PUT', headers, ca }, body).catch(
        (error: unknown) => ({ status: 503, problem: describeConnectionError(error) }),
      );
      if (answer.status < 300) return;
      if (answer.status < 500) throw new Error(`${path}: status ${answer.status}`);
      if (Date.now() > deadline) throw new Error(`no answer from ${url.host}: ${answer.problem}`);
      await sleep(retryDelayMs);
    }
  };
}

/** By `https`, because `fetch` takes no certificate authority. */
async function send(
  url: URL,
  options: https.RequestOptions,
  body: object,
): Promise<{ status: number; problem: string }> {
  const { request } = url.protocol === 'https:' ? https : http;
  const sent = request(url, { ...options, signal: AbortSignal.timeout(requestTimeoutMs) });
  sent.end(JSON.stringify(body));
  const [response] = (await once(sent, 'response')) as [http.IncomingMessage];
  response.resume();
  const status = response.statusCode ?? 0;
  return { status, problem: `status ${status}` };
}

function print(env: Environment): string {
  const { AMQP_PREFIX, RABBITMQ_VHOST } = loadConfig(z.object(placeConfig), env);
  return services
    .flatMap((service) => commandsFor(service, RABBITMQ_VHOST, brokerPermissions(service, AMQP_PREFIX)))
    .join('\n');
}

/** `add_user` reads the password from the terminal. */
function commandsFor(service: string, vhost: string, { configure, write, read, topic }: BrokerPermissions): string[] {
  return [
    ['add_user', service],
    ['set_permissions', '-p', vhost, service, configure, write, read],
    ['set_topic_permissions', '-p', vhost, service, topic.exchange, topic.write, topic.read],
  ].map((args) => `rabbitmqctl ${args.map(quoted).join(' ')}`);
}

function quoted(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

const run = { apply, print }[process.argv[2] ?? ''];
if (!run || process.argv.length > 3) {
  process.stderr.write(`${usage}\n`);
  process.exitCode = 2;
} else {
  try {
    process.stdout.write(`${await run(process.env)}\n`);
  } catch (error) {
    process.stderr.write(`The accounts are not complete: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
