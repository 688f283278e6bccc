// Where a request has its credential: in one Authorization header, as Bearer (RFC 6750 2.1), and nowhere else.
import type { IncomingMessage } from 'node:http';
import { keyPrefix } from './key-format.ts';

export interface SentCredential {
  kind: 'key' | 'token';
  text: string;
}

/** `missing`: there is none, or one of another scheme than Bearer. */
type Credential = SentCredential | { kind: 'missing' } | { kind: 'malformed'; fault: string };

const bearer = /^bearer(?: +(.*))?$/i;
/** RFC 6750 2.1, b64token. */
const tokenForm = /^[\w.~+/-]+=*$/;
const tokenParameter = 'access_token';

export function credentialOf(request: IncomingMessage): Credential {
  const sent = authorizationsOf(request);
  if (sent.length === 0) return { kind: 'missing' };
  if (sent.length > 1) return { kind: 'malformed', fault: 'The request has more than one Authorization header' };
  const match = bearer.exec(sent[0] ?? '');
  if (!match) return { kind: 'missing' };
  const text = match[1]?.trim() ?? '';
  if (!tokenForm.test(text)) {
    return { kind: 'malformed', fault: 'After Bearer there must be one API key or access token in Authorization' };
  }
  return { kind: text.startsWith(keyPrefix) ? 'key' : 'token', text };
}

/** Whether a target contains a key or a token, also percent-encoded. `rejectMalformed` has answered one that cannot be decoded. */
export function hasCredential(target: string): boolean {
  const decoded = target.includes('%') ? decodeURIComponent(target) : target;
  if (decoded.includes(keyPrefix)) return true;
  if (!decoded.includes(tokenParameter)) return false;
  return new URLSearchParams(target.slice(target.indexOf('?') + 1)).has(tokenParameter);
}

/** As they were sent: Node keeps only the first one in `headers`. */
function authorizationsOf({ headers, rawHeaders }: IncomingMessage): string[] {
  if (headers.authorization === undefined) return [];
  const values: string[] = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string;
    if (name.length === 13 && name.toLowerCase() === 'authorization') values.push(String(rawHeaders[index + 1]));
  }
  return values;
}

/** Why a token is refused, for the log: it has no part of the token. */
export class RefusedToken extends Error {
  override readonly name = 'RefusedToken';
  readonly reason: string;

  constructor(reason: string) {
    super(reason);
    this.reason = reason;
  }
}
