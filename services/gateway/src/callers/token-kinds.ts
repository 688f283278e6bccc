// Which of the JWTs that a provider signs are access tokens for this API. All of them have the same signature, and with
// OIDC_TOKEN_TYPE=JWT often the same `typ` too, so the claims have to tell (RFC 8725 2.8).
import type { JWTPayload } from 'jose';
import { RefusedToken } from './credentials.ts';
import type { OidcSettings } from './oidc-config.ts';

/** RFC 9068. Tokens of this type need no further proof that they are access tokens. */
const accessTokenType = 'at+jwt';

/** Claims that only an ID token has. It says who has logged in, and is no permission to call (OpenID Connect Core 2). */
const idTokenClaims = ['nonce', 'at_hash', 'c_hash', 's_hash'];

/** Keycloak writes the kind of a token into its claim `typ`: `ID`, `Refresh`, `Offline`, `Logout`, `DPoP`, `Bearer`. */
const bearerKinds = ['bearer', accessTokenType];

/**
 * @param type the `typ` of the header
 * @throws RefusedToken for a JWT that is no access token, or one that only its owner may use: nobody here could check
 *   that the caller has the key or the certificate which `cnf` names (RFC 8705, RFC 9449)
 */
export function checkTokenKind(
  claims: JWTPayload,
  type: string | undefined,
  { tokenType, scopeClaim }: Pick<OidcSettings, 'tokenType' | 'scopeClaim'>,
): void {
  if (mediaType(type) !== mediaType(tokenType)) throw new RefusedToken('typ');
  // OpenID Connect Back-Channel Logout 2.4, and every other security event token (RFC 8417).
  if (claims.events !== undefined) throw new RefusedToken('logout token');
  if (claims.cnf !== undefined) throw new RefusedToken('cnf');
  // Amazon Cognito says it in `token_use`.
  const isIdToken = idTokenClaims.some((name) => claims[name] !== undefined) || claims.token_use === 'id';
  if (isIdToken) throw new RefusedToken('id token');
  const { typ } = claims;
  if (typ !== undefined && !bearerKinds.includes(String(typ).toLowerCase())) throw new RefusedToken('typ claim');
  // An ID token has no scopes, and none of the claims above when the client has sent no nonce.
  const saysScopes = claims[scopeClaim] !== undefined || claims.scope !== undefined;
  if (mediaType(tokenType) !== accessTokenType && !saysScopes) throw new RefusedToken('no scope claim');
}

/**
 * Whether one of `clients` has got the token: `client_id` (RFC 9068) or `azp` (OpenID Connect). A token that has both
 * must name a listed client in each of them.
 */
export function isOfClient({ client_id: client, azp }: JWTPayload, clients: ReadonlySet<string>): boolean {
  const named = [client, azp].filter((name) => name !== undefined);
  return named.length > 0 && named.every((name) => typeof name === 'string' && clients.has(name));
}

/** `at+jwt` is `application/at+jwt` (RFC 7515 4.1.9). */
function mediaType(type = ''): string {
  return type.toLowerCase().replace(/^application\//, '');
}
