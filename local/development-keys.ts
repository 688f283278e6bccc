// Keys for personal data on a developer's machine: made once, kept in a file only its owner reads. Whoever loses the
// file loses the addresses encrypted with it.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { generateFernetKey } from '../services/users/src/personal-data/fernet.ts';

const names = ['PII_ENCRYPTION_KEYS', 'PII_INDEX_KEY'] as const;
type Keys = Partial<Record<(typeof names)[number], string>>;

/** What `env` does not give, from the file. */
export function developmentKeys(file: string, env: NodeJS.ProcessEnv): Keys {
  const missing = names.filter((name) => !env[name] && !env[`${name}_FILE`]);
  if (missing.length === 0) return {};
  if (!existsSync(file)) {
    const made = Object.fromEntries(names.map((name) => [name, generateFernetKey()]));
    writeFileSync(`${file}.new`, `${JSON.stringify(made, null, 2)}\n`, { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }
  const kept = JSON.parse(readFileSync(file, 'utf8')) as Keys;
  return Object.fromEntries(missing.map((name) => [name, kept[name]]));
}
