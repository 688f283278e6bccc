// The files and the environment of a private RabbitMQ node: all paths and ports are its own.
import { join } from 'node:path';
import { type Account, writePrivateFile } from './accounts.ts';

export interface NodePorts {
  amqpPort: number;
  tlsPort: number;
  distPort: number;
  /** The first of eleven. */
  ctlPort: number;
  epmdPort: number;
}

/** As PEM. `ca` has signed the clients that may connect. */
export interface TlsFiles {
  ca: string;
  cert: string;
  key: string;
}

interface NodeConfiguration {
  dir: string;
  account: Account;
  ports: NodePorts;
  tls: TlsFiles | undefined;
}

export function writeConfiguration(node: NodeConfiguration): void {
  const { dir, account, ports, tls } = node;
  const settings = [`listeners.tcp.1 = 127.0.0.1:${ports.amqpPort}`, ...(tls ? writeTlsFiles(node, tls) : [])];
  writePrivateFile(join(dir, 'rabbitmq.conf'), `${settings.join('\n')}\n`, account);
  writePrivateFile(join(dir, 'advanced.config'), '[].\n', account);
  writePrivateFile(join(dir, 'enabled_plugins'), '[].\n', account);
  writePrivateFile(join(dir, 'rabbitmq-env.conf'), '', account);
}

/** @returns the settings that name the files */
function writeTlsFiles({ dir, account, ports }: NodeConfiguration, files: TlsFiles): string[] {
  const pathOf = (name: string): string => join(dir, `${name}.pem`);
  for (const [name, pem] of Object.entries(files)) writePrivateFile(pathOf(name), pem, account);
  return [
    `listeners.ssl.1 = 127.0.0.1:${ports.tlsPort}`,
    `ssl_options.cacertfile = ${pathOf('ca')}`,
    `ssl_options.certfile = ${pathOf('cert')}`,
    `ssl_options.keyfile = ${pathOf('key')}`,
    'ssl_options.verify = verify_peer',
    'ssl_options.fail_if_no_peer_cert = true',
  ];
}

export function nodeEnvironment(dir: string, ports: NodePorts) {
  return {
    HOME: dir, // holds the Erlang cookie
    RABBITMQ_NODENAME: `promopulse${ports.distPort}@localhost`,
    RABBITMQ_CONF_ENV_FILE: join(dir, 'rabbitmq-env.conf'),
    RABBITMQ_CONFIG_FILE: join(dir, 'rabbitmq.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(dir, 'advanced.config'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(dir, 'enabled_plugins'),
    RABBITMQ_MNESIA_BASE: join(dir, 'data'),
    RABBITMQ_LOG_BASE: join(dir, 'log'),
    RABBITMQ_PLUGINS_EXPAND_DIR: join(dir, 'plugins'),
    RABBITMQ_GENERATED_CONFIG_DIR: join(dir, 'generated'),
    RABBITMQ_SCHEMA_DIR: join(dir, 'schema'),
    RABBITMQ_PID_FILE: join(dir, 'pid'),
    RABBITMQ_DIST_PORT: String(ports.distPort),
    RABBITMQ_CTL_DIST_PORT_MIN: String(ports.ctlPort),
    RABBITMQ_CTL_DIST_PORT_MAX: String(ports.ctlPort + 10),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    ERL_EPMD_PORT: String(ports.epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
  };
}
