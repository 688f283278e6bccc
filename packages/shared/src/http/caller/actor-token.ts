// Who calls, from the gateway to a service: `x-internal-actor: v1.<base64url JSON>.<base64url HMAC-SHA256>`. The MAC is
// over everything before its dot. No client can send the header: the gateway removes every `x-internal-*`.
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';

export const actorHeader = 'x-internal-actor';

export interface ActorClaims {
  /** The id of the actor: `<kind>:<id>`, such as `key:0199c0de-…`. */
  sub: string;
  /** Names that this release does not know grant nothing. */
  scopes: readonly string[];
  /** The user that the caller is. */
  user?: number | undefined;
  /** From this second since 1970 on, the token is invalid. */
  exp: number;
}

export type ActorKey = KeyObject;

const version = 'v1';
const audience = 'promopulse';
const keyBytes = 32;
/** Maximum size of a token, in characters. */
const maxLength = 4_096;
const macLength = 43; // 32 bytes in base64url
const keyForm = /^[\w-]{43}=?$/;

/** Kind and id. It is no address and no subject of an identity provider as it was received. */
const actorId = z.string().regex(/^(key|subject|user|system):[\w.:-]{1,128}$/);

const payload = z.strictObject({
  sub: actorId,
  scopes: z.array(z.string().max(64)).max(64),
  user: z.int().positive().optional(),
  aud: z.literal(audience),
  exp: z.int().positive(),
});

export const actorKeysRule =
  'must be 32 bytes each, in base64url, separated by commas (make one with npm run keys:generate)';

/** @throws TypeError whose message is the broken rule; it does not contain the text */
export function parseActorKeys(text: string): ActorKey[] {
  return text.split(',').map((each) => {
    const key = each.trim();
    const bytes = Buffer.from(key, 'base64url');
    if (!keyForm.test(key) || bytes.length !== keyBytes) throw new TypeError(actorKeysRule);
    return createSecretKey(bytes);
  });
}

export function signActor({ sub, scopes, user, exp }: ActorClaims, key: ActorKey): string {
  const claims: z.input<typeof payload> = {
    sub,
    scopes: [...scopes],
    ...(user !== undefined && { user }),
    aud: audience,
    exp,
  };
  const signed = `${version}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
  return `${signed}.${macOf(signed, key).toString('base64url')}`;
}

/**
 * @param keys one of them must have signed the token
 * @param nowSeconds since 1970
 * @returns undefined when the token is malformed, not signed by one of the keys, not for these services, or expired
 */
export function verifyActor(text: string, keys: readonly ActorKey[], nowSeconds: number): ActorClaims | undefined {
  if (text.length > maxLength) return undefined;
  const [head, body = '', mac = '', ...more] = text.split('.');
  if (head !== version || more.length > 0 || mac.length !== macLength) return undefined;
  const sent = Buffer.from(mac, 'base64url');
  // Several texts can stand for the same bytes: only one of them is accepted.
  if (sent.toString('base64url') !== mac) return undefined;
  const signed = text.slice(0, -macLength - 1);
  if (!keys.some((key) => timingSafeEqual(macOf(signed, key), sent))) return undefined;
  const claims = claimsOf(body);
  return claims && claims.exp > nowSeconds ? claims : undefined;
}

function macOf(text: string, key: ActorKey): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

/** Of a payload whose MAC is right. */
function claimsOf(body: string): ActorClaims | undefined {
  try {
    const { data } = payload.safeParse(JSON.parse(Buffer.from(body, 'base64url').toString()));
    return (
      data && { sub: data.sub, scopes: data.scopes, exp: data.exp, ...(data.user !== undefined && { user: data.user }) }
    );
  } catch {
    return undefined;
  }
}
