// Describes the variables of one process: their ranges by its schema, and which are required by trying.
import { randomBytes } from 'node:crypto';
import { ConfigError } from '@promopulse/shared/config';
import {
  internalServiceUrls,
  internalUrlVariable,
  type ServiceName,
  serviceUrls,
  urlVariable,
} from '@promopulse/shared/contracts/services';
import { z } from 'zod';

export type Environment = Readonly<Record<string, string>>;

interface VariableSchema {
  type?: string;
  default?: unknown;
  [keyword: string]: unknown;
}

/** A JSON Schema of the object of all variables. */
export interface VariablesSchema {
  type: 'object';
  properties: Record<string, VariableSchema>;
  required: string[];
  /** Condition, such as `ENVIRONMENT=production` → variables that are required only then. */
  'x-required-with'?: Record<string, string[]>;
  /** Of a file of Docker Compose: the ports that it publishes. */
  'x-published'?: string[];
}

export interface ProcessVariables {
  name: string;
  schema: z.ZodObject;
  /** Reads the variables as the process does at its start. @throws ConfigError */
  load(env: Environment): void;
}

const key = (): string => `${randomBytes(32).toString('base64url')}=`;
const password = (): string => randomBytes(24).toString('base64url');

/** A valid value of every variable that some process requires. A new one is added here. */
const complete: Environment = {
  ...serviceUrls((service) => `http://${service}:8000`),
  ...internalServiceUrls((service) => `http://${service}:9000`),
  DATABASE_URL: `postgres://promopulse:${password()}@postgres:5432/promopulse`,
  AMQP_URL: `amqp://promopulse:${password()}@rabbitmq:5672`,
  PII_ENCRYPTION_KEYS: key(),
  PII_INDEX_KEY: key(),
};

/** What makes further variables required. The first word names the variable that a process must have for it. */
const conditions: Readonly<Record<string, Environment>> = {
  'ENVIRONMENT=production': { ENVIRONMENT: 'production', AUTH: 'external' },
  'AUTH=required': { AUTH: 'required', ACTOR_KEYS: key() },
  OIDC_ISSUER: {
    ...{ AUTH: 'required', ACTOR_KEYS: key() },
    ...{ OIDC_ISSUER: 'https://login.example.com', OIDC_AUDIENCE: 'promopulse', OIDC_SUBJECT_KEY: key() },
  },
};

/**
 * @param serviceNames whose URLs a process may read
 * @throws ConfigError when the process requires a variable that has no value above
 */
export function describeVariables(
  { schema, load }: ProcessVariables,
  serviceNames: readonly ServiceName[],
): VariablesSchema {
  const { properties = {} } = z.toJSONSchema(schema, { io: 'input', target: 'draft-7', unrepresentable: 'any' });
  const described = { ...properties, ...urlsBehind(properties, serviceNames) } as Record<string, VariableSchema>;
  const names = Object.keys(described).sort();
  const requiredWith = (added: Environment): string[] => {
    const env = Object.fromEntries(Object.entries({ ...complete, ...added }).filter(([name]) => names.includes(name)));
    load(env);
    return Object.keys(env).filter((name) => !loads(load, { ...env, [name]: '' }));
  };
  const required = requiredWith({}).sort();
  const known = Object.entries(conditions).filter(([name]) => names.includes(name.split('=')[0] as string));
  return {
    type: 'object',
    properties: Object.fromEntries(names.map((name) => [name, described[name] as VariableSchema])),
    required,
    'x-required-with': Object.fromEntries(
      known.map(([name, env]) => [
        name,
        requiredWith(env)
          .filter((each) => !required.includes(each))
          .sort(),
      ]),
    ),
  };
}

function loads(load: ProcessVariables['load'], env: Environment): boolean {
  try {
    load(env);
    return true;
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}

/** From `USERS_URL` a process derives `USERS_INTERNAL_URL`, so it reads both. */
function urlsBehind(properties: object, serviceNames: readonly ServiceName[]): Record<string, VariableSchema> {
  const read = serviceNames.filter((name) => internalUrlVariable(name) in properties);
  return Object.fromEntries(read.map((name) => [urlVariable(name), { type: 'string', format: 'uri' }]));
}
