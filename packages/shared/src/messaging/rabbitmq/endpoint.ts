// Where RabbitMQ is, and how TLS checks it: the settings AMQP_*, read and checked once at the start. All that connects to
// RabbitMQ uses them.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { credentials, type SocketOptions } from 'amqplib';
import { z } from 'zod';
import { ConfigError } from '../../config.ts';

/** RabbitMQ recommends 5 to 20. After two to three without an answer it closes the connection of a consumer. */
const heartbeatSeconds = 5;

/** Parameters of the URL that amqplib reads. It ignores any other, for example a misspelt one. */
const knownParameters = ['heartbeat', 'frameMax', 'channelMax', 'maxFrameSize'];

const amqpUrl = z
  .url({ protocol: /^amqps?$/, error: 'must be an amqp:// or amqps:// URL' })
  .superRefine((text, context) => {
    const url = URL.parse(text); // null is reported by the rule above
    for (const message of url ? problemsOf(url) : []) context.addIssue({ code: 'custom', message });
  });

/** One or more certificates, as PEM. */
export const certificates = z
  .string()
  .refine((pem) => canParse(() => pemBlocks(pem).map((block) => new X509Certificate(block))), {
    error: 'must be certificates as PEM (-----BEGIN CERTIFICATE-----)',
  });

export const amqpConfig = {
  AMQP_URL: amqpUrl,
  /** The certificate authorities that may have signed the server's certificate, as PEM. Default: those of Node. */
  AMQP_TLS_CA: certificates.optional(),
  /** The client certificate, with its chain, as PEM. Its key is AMQP_TLS_KEY. */
  AMQP_TLS_CERT: certificates.optional(),
  AMQP_TLS_KEY: z
    .string()
    .refine((pem) => canParse(() => createPrivateKey(pem)), { error: 'must be an unencrypted private key as PEM' })
    .optional(),
  /** The host name in the server's certificate. Default: the host of AMQP_URL. */
  AMQP_TLS_SERVER_NAME: z.string().optional(),
};

type AmqpConfig = z.infer<z.ZodObject<typeof amqpConfig>>;

export interface RabbitEndpoint {
  url: string;
  /** For amqps:// only. */
  tls?: { ca?: string; cert?: string; key?: string; servername?: string };
}

/** @throws ConfigError when the settings contradict each other */
export function rabbitEndpoint(config: AmqpConfig): RabbitEndpoint {
  const { AMQP_URL: url, AMQP_TLS_CA: ca, AMQP_TLS_CERT: cert, AMQP_TLS_KEY: key } = config;
  const servername = config.AMQP_TLS_SERVER_NAME;
  const set = Object.keys(amqpConfig).filter((name) => name !== 'AMQP_URL' && config[name as keyof AmqpConfig]);
  if (new URL(url).protocol === 'amqp:') {
    if (set.length > 0) throw new ConfigError(`${set.join(', ')}: only for TLS. AMQP_URL must begin with amqps://`);
    return { url };
  }
  if (!cert !== !key) throw new ConfigError('AMQP_TLS_CERT and AMQP_TLS_KEY belong together: set both or none');
  if (!canParse(() => createSecureContext({ cert, key }))) {
    throw new ConfigError('AMQP_TLS_KEY is not the private key of AMQP_TLS_CERT');
  }
  return {
    url,
    tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }), ...(servername && { servername }) },
  };
}

/** The arguments of amqplib's `connect`. */
export function connectArguments({ url, tls }: RabbitEndpoint): [url: string, options: SocketOptions] {
  const parsed = new URL(url);
  if (!parsed.searchParams.has('heartbeat')) parsed.searchParams.set('heartbeat', String(heartbeatSeconds));
  // amqplib decodes %-sequences of the user and the password as Latin-1.
  const { username, password } = parsed;
  const account =
    username || password ? [decodeURIComponent(username), decodeURIComponent(password)] : ['guest', 'guest'];
  return [parsed.href, { ...tls, credentials: credentials.plain(...(account as [string, string])) }];
}

function problemsOf(url: URL): string[] {
  const unknown = [...url.searchParams.keys()].filter((name) => !knownParameters.includes(name));
  const notNumbers = [...url.searchParams].filter(
    ([name, value]) => knownParameters.includes(name) && !/^\d+$/.test(value),
  );
  return [
    ...unknown.map((name) => `has the unknown parameter "${name}"; known are ${knownParameters.join(', ')}`),
    ...notNumbers.map(([name]) => `has a parameter "${name}" that is not a whole number`),
    ...(url.hash ? ['must have no fragment (#): write a # in a password as %23'] : []),
    ...(url.pathname.lastIndexOf('/') > 0 ? ['has a "/" in the virtual host: write it as %2F'] : []),
    ...([url.username, url.password, url.pathname].every((part) => canParse(() => decodeURIComponent(part)))
      ? []
      : ['has a % that begins no valid sequence: write it as %25']),
  ];
}

function pemBlocks(pem: string): string[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (!blocks) throw new Error('no certificate');
  return blocks;
}

function canParse(parse: () => unknown): boolean {
  try {
    parse();
    return true;
  } catch {
    return false;
  }
}
