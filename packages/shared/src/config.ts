// Reads the environment into one frozen, typed object. One message names every variable that is wrong, and no value.
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { isProduction, lacksPassword, publishedSecretIn } from './published-secrets.ts';
import { defaultRule } from './values/default-rule.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** One sentence for each thing that is wrong. */
  readonly problems: readonly string[];

  /** @param problems a sentence that is the whole message, or a list that gets a headline */
  constructor(problems: string | readonly string[]) {
    const isSentence = typeof problems === 'string';
    super(isSentence ? problems : `The environment is not valid:\n${problems.map((line) => `  - ${line}`).join('\n')}`);
    this.problems = isSentence ? [problems] : problems;
  }
}

/** The variables that every process reads. */
export const processConfig = {
  /** With `production` (or `prod`) published keys and default passwords are refused. */
  ENVIRONMENT: z.string().default('development'),
  HOST: z.string().default('0.0.0.0'),
  /** 0: a free port, chosen by the system. */
  PORT: z.coerce.number().int().min(0).max(65535),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  /** Milliseconds from SIGTERM until open connections are closed by force and the process ends. */
  SHUTDOWN_TIMEOUT_MS: z.coerce.number().int().min(100).max(300_000).default(10_000),
};

/** Of the services and the gateway. */
export const shutdownConfig = {
  /**
   * Milliseconds from "not ready" to the end of listening: time for a load balancer to notice. They are a part of
   * SHUTDOWN_TIMEOUT_MS.
   */
  SHUTDOWN_DELAY_MS: z.coerce.number().int().min(0).max(300_000).default(0),
};

/**
 * Reads the variables of a zod object from `env`, without the white space around their values. An empty variable counts
 * as unset. Instead of NAME, NAME_FILE may name a file with the value (a secret of Docker or Kubernetes).
 * @throws ConfigError naming every variable that is missing, malformed, or in production no secret
 */
export function loadConfig<Schema extends z.ZodObject>(schema: Schema, env: Environment): Readonly<z.infer<Schema>> {
  const problems: string[] = [];
  const values: Record<string, string> = {};
  for (const name of Object.keys(schema.shape)) {
    const { value, problem } = readVariable(name, env);
    if (value) values[name] = value;
    if (problem) problems.push(problem);
  }
  const parsed = schema.safeParse(values, { error: defaultRule });
  for (const { path, message } of parsed.error?.issues ?? []) {
    const name = String(path[0]);
    if (values[name] !== undefined) problems.push(`${name} is not valid: ${message}`);
    else if (!trimmed(env, `${name}_FILE`)) problems.push(`${name} is not set`); // else the file's problem is listed
  }
  if (isProduction(readVariable('ENVIRONMENT', env).value)) problems.push(...productionProblems(values));
  if (problems.length > 0 || !parsed.success) throw new ConfigError(problems);
  return Object.freeze(parsed.data);
}

/** The names of variables whose values everybody can know, such as a key of docker-compose.yml. */
export function listPublishedSecrets(config: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(config).filter((name) => {
    const value = config[name];
    return publishedSecretIn(name, Array.isArray(value) ? value.join() : String(value)) !== undefined;
  });
}

function productionProblems(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => {
    const problem = publishedSecretIn(name, value) ?? (lacksPassword(value) ? 'has no password' : undefined);
    return problem ? [`${name} is refused with ENVIRONMENT=production: it ${problem}`] : [];
  });
}

function readVariable(name: string, env: Environment): { value?: string; problem?: string } {
  const value = trimmed(env, name);
  const file = trimmed(env, `${name}_FILE`);
  if (!file) return value ? { value } : {};
  if (value) return { problem: `${name} and ${name}_FILE are both set: keep one` };
  try {
    const content = readFileSync(file, 'utf8').trim();
    return content ? { value: content } : { problem: `${name}_FILE names an empty file` };
  } catch {
    return { problem: `${name}_FILE cannot be read` };
  }
}

function trimmed(env: Environment, name: string): string | undefined {
  return env[name]?.trim();
}
