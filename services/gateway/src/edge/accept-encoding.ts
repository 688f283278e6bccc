// Reads Accept-Encoding (RFC 9110 12.5.3): which of our codings a client prefers, and whether it takes bytes as they are.
import Negotiator from 'negotiator';

export interface AcceptedCoding {
  coding: 'br' | 'gzip';
  /** `identity;q=0`, or `*;q=0`: also a short body must be compressed. */
  isIdentityRefused: boolean;
}

/** Between two codings that the client likes as much, the better one. */
const preferred = ['br', 'gzip'];
const offered = [...preferred, 'identity'];

/** The types of negotiator 1.x are not published. */
const PreferenceReader = Negotiator as unknown as new (request: {
  headers: Record<string, string>;
}) => { encodings(offered: string[], options: { preferred: string[] }): string[] };

/** Clients send few different values, so each is read once. */
const known = new Map<string, AcceptedCoding | undefined>();
const maxKnown = 100;
/** Longer values are not kept. */
const maxKnownLength = 100;

/**
 * @returns undefined when the body should go out as it is: the client does not say anything else, prefers it, or accepts
 * nothing that we have (RFC 9110 12.4.1 lets a server then disregard the header)
 */
export function readAcceptEncoding(value: string | undefined): AcceptedCoding | undefined {
  if (!value) return undefined;
  if (known.has(value)) return known.get(value);
  const accepted = parse(value);
  if (value.length <= maxKnownLength) {
    if (known.size >= maxKnown) known.clear();
    known.set(value, accepted);
  }
  return accepted;
}

function parse(value: string): AcceptedCoding | undefined {
  // The old name is to be read as the new one (RFC 9110 8.4.1.3).
  const headers = { 'accept-encoding': value.replaceAll(/\bx-gzip\b/gi, 'gzip') };
  const accepted = new PreferenceReader({ headers }).encodings(offered, { preferred });
  const [coding] = accepted;
  if (coding !== 'br' && coding !== 'gzip') return undefined;
  return { coding, isIdentityRefused: !accepted.includes('identity') };
}
