// Whether a text that is logged or stored as it is has a secret in it: an API key of the gateway (`ppk_…`), or a JWT.
import { undisguised } from './personal-text.ts';

/**
 * Part of a key counts too: 20 characters of the 49 behind `ppk_`. The hint of a key, by which people recognize it, has 4.
 * A JWT is two parts of base64url JSON and a signature (RFC 7519 3), and JSON objects begin with `eyJ` in base64url.
 * The search begins at the dot behind the first part: so each character is looked at a few times, however long the text.
 */
const credential = /ppk_[0-9A-Za-z]{20}|\.(?<=eyJ[\w-]{8,}\.)eyJ[\w-]{8,}\./;
const ascii = /^[\0-\x7f]*$/;

/** It completes "<field> …". */
export const credentialRule = 'must not have an API key or an access token in it';

export function mayHoldCredential(text: string): boolean {
  return credential.test(ascii.test(text) ? text : undisguised(text));
}
