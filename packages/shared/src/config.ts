// Environment in, one frozen typed object out. Everything wrong is reported in one message that names each
// variable and never shows a value.
import { readFileSync } from 'node:fs';
import { z } from 'zod';

export type Environment = Readonly<Record<string, string | undefined>>;

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** What every process of the mesh reads. Ports: 0 lets the system choose. */
export const processConfig = {
  ENVIRONMENT: z.string().default('development'),
  HOST: z.string().default('0.0.0.0'),
  PORT: z.coerce.number().int().min(0).max(65535),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  /** Milliseconds from SIGTERM to the last resort: connections are cut and the process ends. */
  SHUTDOWN_TIMEOUT_MS: z.coerce.number().int().min(100).max(300_000).default(10_000),
};

/**
 * Reads `env` by a zod object, without white space around values. An empty variable counts as unset; for every NAME, NAME_FILE may name a file
 * that holds the value (secrets of Docker and Kubernetes).
 * @throws ConfigError naming every variable that is missing or malformed
 */
export function loadConfig<Schema extends z.ZodObject>(schema: Schema, env: Environment): Readonly<z.infer<Schema>> {
  const problems: string[] = [];
  const values: Record<string, string> = {};
  for (const name of Object.keys(schema.shape)) {
    const file = env[`${name}_FILE`]?.trim();
    const direct = env[name]?.trim();
    if (file && direct) problems.push(`${name} and ${name}_FILE are both set: keep one`);
    else if (file) {
      try {
        const value = readFileSync(file, 'utf8').trim();
        if (value) values[name] = value;
        else problems.push(`${name}_FILE names an empty file`);
      } catch {
        problems.push(`${name}_FILE cannot be read`);
      }
    } else if (direct) values[name] = direct;
  }
  const parsed = schema.safeParse(values);
  if (!parsed.success) {
    for (const { path, message } of parsed.error.issues) {
      const name = String(path[0]);
      const missing = values[name] === undefined;
      if (missing && env[`${name}_FILE`]?.trim()) continue; // said above
      problems.push(`${name} ${missing ? 'is not set' : `is not valid: ${message}`}`);
    }
  }
  if (problems.length > 0 || !parsed.success) {
    throw new ConfigError(`The environment is not complete:\n${problems.map((line) => `  - ${line}`).join('\n')}`);
  }
  return Object.freeze(parsed.data);
}
