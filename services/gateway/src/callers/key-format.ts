// The text of an API key: `ppk_`, 43 base62 characters of 256 random bits, and 6 of their CRC32. The prefix lets scanners
// find a key that was published by mistake. By the checksum a mistyped key is refused without a look-up.
import { hash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

export const keyPrefix = 'ppk_';
const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const randomLength = 43; // 62^43 is just above 2^256
const checksumLength = 6;
const hintLength = 4;
const form = /^ppk_[0-9A-Za-z]{49}$/;

export interface NewKey {
  /** Shown once, and stored nowhere. */
  secret: string;
  /** The beginning of the secret, by which people recognize it. */
  hint: string;
  digest: Buffer;
}

export function createKey(): NewKey {
  const random = toBase62(BigInt(`0x${randomBytes(32).toString('hex')}`), randomLength);
  const secret = `${keyPrefix}${random}${checksumOf(random)}`;
  return {
    secret,
    hint: secret.slice(0, keyPrefix.length + hintLength),
    digest: Buffer.from(digestOf(secret), 'base64url'),
  };
}

/** Whether the text has the form of a key, and the checksum is right. It says nothing about whether the key exists. */
export function isWellFormedKey(text: string): boolean {
  if (!form.test(text)) return false;
  const random = text.slice(keyPrefix.length, -checksumLength);
  return checksumOf(random) === text.slice(-checksumLength);
}

/** SHA-256 of a credential, in base64url. A slow hash is for guessable passwords: nobody guesses 256 random bits. */
export function digestOf(credential: string): string {
  return hash('sha256', credential, 'base64url');
}

function checksumOf(random: string): string {
  return toBase62(BigInt(crc32(random)), checksumLength);
}

function toBase62(value: bigint, length: number): string {
  let text = '';
  for (let rest = value; text.length < length; rest /= 62n) text = alphabet[Number(rest % 62n)] + text;
  return text;
}
