// The vectors are those of the specification (https://github.com/fernet/spec: generate.json, verify.json,
// invalid.json), which Python's `cryptography` is tested with too.
import { describe, expect, test } from '@jest/globals';
import { testKeys } from '@promopulse/testing/service';
import fc from 'fast-check';
import { createFernet, generateFernetKey, isFernetKey } from '../src/personal-data/fernet.ts';

const secret = 'cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=';
const token = 'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==';
const fernet = createFernet([secret]);
const invalidToken = expect.objectContaining({ name: 'InvalidToken', message: 'not a token of any known key' });

/** What `work` throws: an Error of this file's realm or another is the same to these tests. */
function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe("the specification's vectors", () => {
  test('generate.json: the same key, time, IV and text make the same token', () => {
    const iv = Buffer.from(Array.from({ length: 16 }, (_, index) => index));
    expect(fernet.encrypt('hello', { iv, now: new Date('1985-10-26T01:20:00-07:00') })).toBe(token);
  });

  test('verify.json: the token is read', () => {
    expect(fernet.decrypt(token)).toBe('hello');
  });

  test.each([
    [
      'incorrect mac',
      'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==',
    ],
    ['too short', 'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA=='],
    [
      'invalid base64',
      '%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==',
    ],
    [
      'payload size not multiple of block size',
      'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm',
    ],
    [
      'payload padding error',
      'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==',
    ],
    [
      'incorrect IV (causes padding error)',
      'gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==',
    ],
    ['trailing characters after b64 padding', `${token}trailingdata`],
    [
      'invalid characters in b64',
      '*gAAAAAAdwJ6wAAECAwQFBgcI!CQoLDA0ODy021?cpGVWKZ_eEwC@GM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==',
    ],
    [
      'invalid non-urlsafe characters in b64',
      'gAAAAAAdwJ6wAAEC/AwQFBgcICQoLDA0ODy+021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==',
    ],
  ])('invalid.json: %s is rejected', (_description, invalid) => {
    expect(thrownBy(() => fernet.decrypt(invalid))).toEqual(invalidToken);
  });

  // Two vectors are invalid only by the clock. A time to live is for tokens that travel; ours are data at rest,
  // which must be readable for as long as it is kept.
  test.each([
    [
      'far-future TS (unacceptable clock skew)',
      'gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw==',
    ],
    [
      'expired TTL',
      'gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==',
    ],
  ])('invalid.json: %s does not apply to data at rest', (_description, untimely) => {
    expect(fernet.decrypt(untimely)).toBe('');
  });
});

describe('several keys', () => {
  const [first, second, third] = testKeys;

  test('the first encrypts', () => {
    const made = createFernet([first, second]).encrypt('ada@example.com');
    expect(createFernet([first]).decrypt(made)).toBe('ada@example.com');
    expect(thrownBy(() => createFernet([second]).decrypt(made))).toEqual(invalidToken);
  });

  test('all decrypt', () => {
    const all = createFernet([first, second, third]);
    for (const key of testKeys) expect(all.decrypt(createFernet([key]).encrypt('x'))).toBe('x');
  });

  test('a token of an unknown key is rejected', () => {
    const stranger = createFernet([generateFernetKey()]).encrypt('x');
    expect(thrownBy(() => createFernet(testKeys).decrypt(stranger))).toEqual(invalidToken);
  });

  test('none at all is rejected', () => {
    expect(thrownBy(() => createFernet([]))).toMatchObject({ message: 'at least one Fernet key is needed' });
  });
});

describe('a key', () => {
  test('is 32 random bytes in base64url', () => {
    const keys = Array.from({ length: 100 }, generateFernetKey);
    expect(new Set(keys).size).toBe(100);
    for (const key of keys) {
      expect(isFernetKey(key)).toBe(true);
      expect(Buffer.from(key, 'base64url')).toHaveLength(32);
    }
  });

  test.each([
    ['nothing', ''],
    ['too short', secret.slice(4)],
    ['too long', `AAAA${secret}`],
    ['without its padding', secret.slice(0, -1)],
    ['in base64 that is not for URLs', secret.replace('_', '/')],
    ['followed by a line break', `${secret}\n`],
    ['with a space', ` ${secret.slice(1)}`],
  ])('%s is rejected, and not shown', (_description, key) => {
    expect(isFernetKey(key)).toBe(false);
    expect(thrownBy(() => createFernet([key]))).toMatchObject({
      name: 'TypeError',
      message: 'a Fernet key is 32 bytes in base64url',
    });
  });
});

describe('a token', () => {
  test('of a text that is encrypted again is another one', () => {
    expect(fernet.encrypt('hello')).not.toBe(fernet.encrypt('hello'));
  });

  test('says when it was made and not what it holds', () => {
    const made = Buffer.from(fernet.encrypt('ada@example.com', { now: new Date(1_700_000_000_999) }), 'base64url');
    expect(made.readUInt8(0)).toBe(0x80);
    expect(made.readBigUInt64BE(1)).toBe(1_700_000_000n);
    expect(made.includes('ada')).toBe(false);
  });

  test('with any byte altered is rejected', () => {
    const bytes = Buffer.from(token, 'base64url');
    for (const index of bytes.keys()) {
      const altered = Buffer.from(bytes);
      altered.writeUInt8(altered.readUInt8(index) ^ 1, index);
      expect(thrownBy(() => fernet.decrypt(encode(altered)))).toEqual(invalidToken);
    }
  });

  test('cut short anywhere is rejected', () => {
    for (let length = 0; length < token.length; length += 1) {
      expect(thrownBy(() => fernet.decrypt(token.slice(0, length)))).toEqual(invalidToken);
    }
  });

  test('is read back as the text it was made of, whatever Unicode that is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        expect(fernet.decrypt(fernet.encrypt(text))).toBe(text);
      }),
    );
  });

  test('that is no token is rejected without another kind of error, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.base64String().map((text) => `gAAAAA${text}`),
        ),
        (text) => {
          expect(thrownBy(() => fernet.decrypt(text))).toEqual(invalidToken);
        },
      ),
    );
  });
});

function encode(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}
