// Keys for personal data on a developer's machine. They are generated once and kept in a file that only its owner can
// read. Without that file the contact data encrypted with its keys cannot be read.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { generateFernetKey } from '../services/users/src/personal-data/fernet.ts';

const names = ['PII_ENCRYPTION_KEYS', 'PII_INDEX_KEY'] as const;
type Keys = Partial<Record<(typeof names)[number], string>>;

/** @returns from the file the keys that `env` does not set, by name of their variable */
export function developmentKeys(file: string, env: NodeJS.ProcessEnv): Keys {
  const missing = names.filter((name) => !env[name] && !env[`${name}_FILE`]);
  if (missing.length === 0) return {};
  if (!existsSync(file)) {
    const generated = Object.fromEntries(names.map((name) => [name, generateFernetKey()]));
    writeFileSync(`${file}.new`, `${JSON.stringify(generated, null, 2)}\n`, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
  const stored = JSON.parse(readFileSync(file, 'utf8')) as Keys;
  return Object.fromEntries(missing.map((name) => [name, stored[name]]));
}
