// Keys for personal data on a developer's machine. They are generated once and kept in a file that only its owner can
// read. Without that file the contact data encrypted with its keys cannot be read. So `npm start` keeps the file in the
// data folder of its PostgreSQL: both are removed together.
import { chownSync, existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { generateFernetKey } from '../services/users/src/personal-data/fernet.ts';

const names = ['PII_ENCRYPTION_KEYS', 'PII_INDEX_KEY'] as const;
type Keys = Partial<Record<(typeof names)[number], string>>;

/**
 * @param formerFile where a former release has kept the keys of the same data
 * @returns from the file the keys that `env` does not set, by name of their variable
 */
export function developmentKeys(file: string, env: NodeJS.ProcessEnv, formerFile?: string): Keys {
  const missing = names.filter((name) => !env[name] && !env[`${name}_FILE`]);
  if (missing.length === 0) return {};
  if (!existsSync(file)) writeKeys(file, formerFile !== undefined && existsSync(formerFile) ? formerFile : undefined);
  const stored = JSON.parse(readFileSync(file, 'utf8')) as Keys;
  return Object.fromEntries(missing.map((name) => [name, stored[name]]));
}

function writeKeys(file: string, formerFile: string | undefined): void {
  const generated = Object.fromEntries(names.map((name) => [name, generateFernetKey()]));
  const text = formerFile ? readFileSync(formerFile, 'utf8') : `${JSON.stringify(generated, null, 2)}\n`;
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  // As root PostgreSQL runs as another account, which must be able to open every file of its folder.
  const { uid, gid } = statSync(dirname(file));
  chownSync(`${file}.new`, uid, gid);
  renameSync(`${file}.new`, file);
}
