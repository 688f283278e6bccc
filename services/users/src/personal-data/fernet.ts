// Fernet tokens (https://github.com/fernet/spec/blob/master/Spec.md), byte-compatible with Python's `cryptography`:
// version 0x80, 64-bit time in seconds, IV, AES-128-CBC with PKCS#7, HMAC-SHA-256 over all before it, base64url with
// padding. Key objects, not buffers: they make a token about five times cheaper.
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';

interface FernetKey {
  signing: KeyObject;
  encryption: KeyObject;
}

export interface Fernet {
  /** Encrypts UTF-8 text with the first key. */
  encrypt(text: string, options?: { iv?: Buffer; now?: Date }): string;
  /**
   * Decrypts with the key that made the token. Tokens do not expire here: they are data at rest.
   * @throws InvalidToken when the token is malformed, altered or made with an unknown key
   */
  decrypt(token: string): string;
}

class InvalidToken extends Error {
  override readonly name = 'InvalidToken';
  constructor() {
    super('not a token of any known key');
  }
}

const version = 0x80;
const headerBytes = 1 + 8 + 16;
const macBytes = 32;

/** Whether text is a Fernet key: 32 bytes in base64url, 44 characters with its padding. */
export function isFernetKey(text: string): boolean {
  return /^[A-Za-z0-9_-]{43}=$/.test(text);
}

/** Whether text begins as a token of a time before the year 2106: the version, and four zero bytes. */
export function isFernetToken(text: string): boolean {
  return text.startsWith('gAAAAA');
}

export function generateFernetKey(): string {
  return encodeBase64Url(randomBytes(32));
}

/**
 * @param keys one or more keys; the first encrypts, all decrypt (MultiFernet)
 * @throws TypeError when a key is malformed or there is none
 */
export function createFernet(keys: readonly string[]): Fernet {
  const [first, ...others] = keys.map(readKey);
  if (!first) throw new TypeError('at least one Fernet key is needed');
  return {
    encrypt: (text, { iv = randomBytes(16), now = new Date() } = {}) => seal(first, text, iv, now),
    decrypt: (token) => {
      for (const key of [first, ...others]) {
        const text = open(key, token);
        if (text !== undefined) return text;
      }
      throw new InvalidToken();
    },
  };
}

function readKey(key: string): FernetKey {
  if (!isFernetKey(key)) throw new TypeError('a Fernet key is 32 bytes in base64url');
  const bytes = Buffer.from(key, 'base64url');
  return { signing: createSecretKey(bytes.subarray(0, 16)), encryption: createSecretKey(bytes.subarray(16)) };
}

function seal(key: FernetKey, text: string, iv: Buffer, now: Date): string {
  const header = Buffer.alloc(9);
  header.writeUInt8(version);
  header.writeBigUInt64BE(BigInt(Math.floor(now.getTime() / 1000)), 1);
  const cipher = createCipheriv('aes-128-cbc', key.encryption, iv);
  const signed = Buffer.concat([header, iv, cipher.update(text, 'utf8'), cipher.final()]);
  return encodeBase64Url(Buffer.concat([signed, macOf(key, signed)]));
}

function open(key: FernetKey, token: string): string | undefined {
  if (!/^[A-Za-z0-9_-]+={0,2}$/.test(token) || token.length % 4 !== 0) return undefined;
  const bytes = Buffer.from(token, 'base64url');
  const ciphertextBytes = bytes.length - headerBytes - macBytes;
  if (bytes[0] !== version || ciphertextBytes < 16 || ciphertextBytes % 16 !== 0) return undefined;
  const signed = bytes.subarray(0, -macBytes);
  if (!timingSafeEqual(macOf(key, signed), bytes.subarray(-macBytes))) return undefined;
  try {
    const decipher = createDecipheriv('aes-128-cbc', key.encryption, signed.subarray(9, headerBytes));
    return Buffer.concat([decipher.update(signed.subarray(headerBytes)), decipher.final()]).toString('utf8');
  } catch {
    return undefined; // signed by the key, yet wrongly padded
  }
}

function macOf(key: FernetKey, signed: Buffer): Buffer {
  return createHmac('sha256', key.signing).update(signed).digest();
}

/** Python's urlsafe_b64encode keeps the padding that Node's base64url drops. */
function encodeBase64Url(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}
