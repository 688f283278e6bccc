// The list of published secrets (packages/shared/src/published-secrets.ts) has all that this repository publishes, and
// Compose publishes no port beyond the machine by default.
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { publishedSecretIn } from '@promopulse/shared/published-secrets';

const root = resolve(import.meta.dirname, '..');
const files = [
  '.env.example',
  ...globSync('**/*.{ts,md,yml,sh,http,json}', {
    cwd: root,
    exclude: ['**/node_modules/**', '**/package-lock.json', 'sbom/**'],
  }),
];
/** This one uses a key that stands for a secret of its own. */
const withOwnKey = 'packages/shared/test/published-secrets.test.ts';

function found(pattern: RegExp, accept: (file: string) => boolean): { file: string; secret: string }[] {
  return files
    .filter(accept)
    .flatMap((file) =>
      [...readFileSync(join(root, file), 'utf8').matchAll(pattern)].map(([, secret = '']) => ({ file, secret })),
    );
}

test('every Fernet key in the repository is on the list', () => {
  const keys = found(/(?<![\w+/=])([\w-]{43}=)(?!=)/g, (file) => file !== withOwnKey);
  expect(keys.map(({ file }) => file)).toEqual(expect.arrayContaining(['docker-compose.yml']));
  expect(keys.filter(({ secret }) => !publishedSecretIn('KEY', secret))).toEqual([]);
});

test('every password in Compose, in the documents and in the usage of a command is on the list', () => {
  const isShown = (file: string): boolean => !/(^|\/)(test|tools|local)\//.test(file);
  const inUrls = found(/\w:\/\/[\w-]+:([^@\s/${}]+)@/g, isShown);
  const defaults = found(/_PASS(?:WORD)?:-([^}]+)\}/g, isShown);
  const set = found(/PASSWORD: ([\w-]+)$/gm, isShown);
  expect([inUrls.length, defaults.length, set.length].every((count) => count > 0)).toBe(true);
  const secrets = [...inUrls, ...defaults, ...set];
  expect(secrets.filter(({ secret }) => !publishedSecretIn('PASSWORD', secret))).toEqual([]);
});

test('Compose publishes its ports on 127.0.0.1 alone, unless BIND says otherwise', () => {
  const compose = files.filter((file) => /^docker-compose.*\.yml$/.test(file));
  const ports = compose.flatMap((file) => readFileSync(join(root, file), 'utf8').match(/^ *ports:.*$/gm) ?? []);
  const [gateway, ...others] = ports.map((line) => line.trim());
  expect(gateway).toMatch(/^ports: \['\$\{BIND:-127\.0\.0\.1\}:/);
  for (const line of others) expect(line).toMatch(/^ports: \['127\.0\.0\.1:[^,]*\]$/);
  expect(others.length).toBeGreaterThan(0);
});
