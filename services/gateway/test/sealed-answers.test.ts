// A kept answer about API keys can be read by nobody without the credential of its caller.
import { expect, test } from '@jest/globals';
import { anonymous } from '@promopulse/shared/http/caller/caller';
import { sealedFor, withSealingKey } from '../src/callers/sealed-answers.ts';

const protectionOf = (credential: string) => sealedFor(withSealingKey(anonymous, credential));
const text = '{"secret":"ppk_…"}';

test('the same credential opens it, also in another process', () => {
  const sealed = protectionOf('ppk_a').seal(text);
  expect(protectionOf('ppk_a').unseal(sealed)).toBe(text);
  expect(sealed).not.toContain('secret');
});

test('it is sealed differently each time', () => {
  const { seal } = protectionOf('ppk_a');
  expect(seal(text)).not.toBe(seal(text));
});

test.each([
  ['another credential', (sealed: string) => sealed, 'ppk_b'],
  ['a changed text', (sealed: string) => `${sealed[0] === 'A' ? 'B' : 'A'}${sealed.slice(1)}`, 'ppk_a'],
  ['a cut text', (sealed: string) => sealed.slice(0, -4), 'ppk_a'],
  ['no text', () => '', 'ppk_a'],
])('%s opens nothing', (_title, change, credential) => {
  expect(protectionOf(credential).unseal(change(protectionOf('ppk_a').seal(text)))).toBeUndefined();
});

test('a caller whose credential is not known keeps no answer', () => {
  expect(() => sealedFor(anonymous)).toThrow('no sealing key');
});
