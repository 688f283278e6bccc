// Bodies that are made once and sent often. Each is compressed once for each coding, so that a client that asks for it in a
// loop costs no more than the sending of the bytes.
import type { AcceptedCoding } from './accept-encoding.ts';

type Encoded = Partial<Record<AcceptedCoding['coding'], Buffer>>;

/** What is forgotten elsewhere is forgotten here. */
const encodedBodies = new WeakMap<Uint8Array, Encoded>();

/** @param text of a body that will be sent as this buffer again and again */
export function staticBody(text: string | Buffer): Buffer {
  const body = typeof text === 'string' ? Buffer.from(text) : text;
  encodedBodies.set(body, {});
  return body;
}

export function isStaticBody(body: unknown): boolean {
  return body instanceof Uint8Array && encodedBodies.has(body);
}

/** @returns the encoded body; that of a static body is made by the first call */
export function encodeOnce(
  body: Uint8Array,
  coding: AcceptedCoding['coding'],
  encode: (body: Uint8Array) => Buffer,
): Buffer {
  const encoded = encodedBodies.get(body);
  if (!encoded) return encode(body);
  encoded[coding] ??= encode(body);
  return encoded[coding];
}
