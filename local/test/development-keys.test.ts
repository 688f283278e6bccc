// The keys of a developer's machine are made once, and those of stored data are never replaced.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { parseActorKeys } from '@promopulse/shared/http/caller/actor-token';
import { developmentKeys } from '../development-keys.ts';

const folder = mkdtempSync(join(tmpdir(), 'promopulse-keys-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('the keys of a file are the same at each start, and only its owner can read it', () => {
  const file = join(folder, 'new.json');
  const first = developmentKeys(file, {});
  expect(Object.keys(first)).toEqual(['PII_ENCRYPTION_KEYS', 'PII_INDEX_KEY', 'ACTOR_KEYS', 'OIDC_SUBJECT_KEY']);
  expect(parseActorKeys(String(first.ACTOR_KEYS))).toHaveLength(1);
  expect(developmentKeys(file, {})).toEqual(first);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test('a file of a release without ACTOR_KEYS and OIDC_SUBJECT_KEY gets them, and keeps the keys of its data', () => {
  const file = join(folder, 'former.json');
  const former = { PII_ENCRYPTION_KEYS: 'encryption', PII_INDEX_KEY: 'index' };
  writeFileSync(file, JSON.stringify(former));
  const keys = developmentKeys(file, {});
  expect(keys).toEqual({ ...former, ACTOR_KEYS: expect.any(String), OIDC_SUBJECT_KEY: expect.any(String) });
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(keys);
});

test('a key that the environment sets is not taken from the file', () => {
  const file = join(folder, 'set.json');
  expect(Object.keys(developmentKeys(file, { ACTOR_KEYS: 'own', PII_INDEX_KEY_FILE: '/key' }))).toEqual([
    'PII_ENCRYPTION_KEYS',
    'OIDC_SUBJECT_KEY',
  ]);
});
