// The variables that the files of Docker Compose take from the environment or from .env, and the ports that they publish.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { VariablesSchema } from './variables.ts';

const root = join(import.meta.dirname, '../..');
const files = ['docker-compose.yml', 'docker-compose.auth.yml'];

export function composeVariables(): Record<string, VariablesSchema> {
  return Object.fromEntries(files.map((file) => [file, variablesIn(readFileSync(join(root, file), 'utf8'))]));
}

/** `${NAME:-default}`, `${NAME-default}`, `${NAME:?what is wrong}`, `${NAME:+instead}`, and `NAME:` without a value, which hands it on. */
export function variablesIn(text: string): VariablesSchema {
  const code = text.replaceAll(/^ *#.*$/gm, '');
  const interpolated = [...code.matchAll(/\$\{([A-Z][A-Z0-9_]*)(?::?([-?+])([^}]*))?\}/g)];
  const handedOn = [...code.matchAll(/(?:^ +|[{,] *)([A-Z][A-Z0-9_]*): *(?=$|[,}])/gm)];
  const variables = new Map<string, { default?: string }>(handedOn.map(([, name = '']) => [name, {}]));
  for (const [, name = '', sign, value] of interpolated) {
    variables.set(name, { ...variables.get(name), ...(sign === '-' && { default: value as string }) });
  }
  const required = interpolated.flatMap(([, name = '', sign]) => (sign === '?' ? [name] : []));
  return {
    type: 'object',
    properties: Object.fromEntries([...variables].sort().map(([name, { default: value }]) => [name, describe(value)])),
    required: [...new Set(required)].sort(),
    'x-published': [...code.matchAll(/^ +ports: \['(.+)'\]$/gm)].map(([, port = '']) => port),
  };
}

function describe(value: string | undefined) {
  return { type: 'string', ...(value !== undefined && { default: value }) };
}
