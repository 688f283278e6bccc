// JWT access tokens (RFC 9068, RFC 8725) of the OpenID provider. A token is verified once: until it expires, its caller is
// found by the digest of its text.
import { createHmac } from 'node:crypto';
import { DomainError } from '@promopulse/shared/errors';
import { isScope } from '@promopulse/shared/http/caller/scopes';
import { RecentMap } from '@promopulse/shared/values/recent-map';
import { errors, type JWTPayload, type JWTVerifyResult, jwtVerify } from 'jose';
import { RefusedToken } from './credentials.ts';
import { digestOf } from './key-format.ts';
import type { OidcSettings } from './oidc-config.ts';
import { Principal } from './principal.ts';
import type { KeySet, ProviderKeys } from './provider-keys.ts';
import { checkTokenKind, isOfClient } from './token-kinds.ts';

const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'];
const requiredClaims = ['iss', 'exp', 'aud', 'sub', 'iat'];
const clockToleranceSeconds = 30;
/** Maximum number of verified tokens that are kept. */
const maxVerified = 10_000;
/** A token that names no key is tried with so many keys of the provider. */
const maxCandidates = 4;
const maxSubjectLength = 255;

interface VerifiedToken {
  /** A token of a client that may not act by scopes is kept too: it costs no verification with each request. */
  found: Principal | RefusedToken;
  /** In milliseconds since 1970, with the tolerance. */
  until: number;
}

interface AccessTokensOptions {
  settings: OidcSettings;
  keys: Pick<ProviderKeys, 'current' | 'newerThan'>;
}

/** Holds what was verified. Nothing has to be stopped. */
export class AccessTokens {
  readonly #options: AccessTokensOptions;
  /** Digest of a token → its caller. */
  readonly #verified = new RecentMap<string, VerifiedToken>(maxVerified);
  readonly #verifying = new Map<string, Promise<Principal | RefusedToken>>();

  constructor(options: AccessTokensOptions) {
    this.#options = options;
  }

  /** The caller of a token that was verified before and has not ended. Never throws. */
  recall(token: string): Principal | undefined {
    const known = this.#verified.get(digestOf(token));
    return known && known.until > Date.now() && known.found instanceof Principal ? known.found : undefined;
  }

  /**
   * @returns at once what a token is that was verified before, otherwise a promise, also of a token that is refused
   * @throws unavailable (the promise) while the keys of the provider are not known
   */
  find(token: string): Principal | RefusedToken | Promise<Principal | RefusedToken> {
    const digest = digestOf(token);
    const known = this.#verified.get(digest);
    if (known && known.until > Date.now()) return known.found;
    const verifying = this.#verifying.get(digest) ?? this.#verify(token, digest);
    this.#verifying.set(digest, verifying);
    return verifying;
  }

  async #verify(token: string, digest: string): Promise<Principal | RefusedToken> {
    try {
      const { payload, protectedHeader } = await this.#checkSignature(token);
      const verified = { found: this.#principalOf(payload, protectedHeader.typ), until: endOf(payload) };
      this.#verified.set(digest, verified);
      return verified.found;
    } catch (error) {
      this.#verified.delete(digest);
      if (error instanceof DomainError) throw error;
      return error instanceof RefusedToken ? error : new RefusedToken(reasonOf(error));
    } finally {
      this.#verifying.delete(digest);
    }
  }

  async #checkSignature(token: string): Promise<JWTVerifyResult> {
    const { keys, settings } = this.#options;
    const { issuer, audience } = settings;
    const options = { algorithms, issuer, audience, requiredClaims, clockTolerance: clockToleranceSeconds };
    const verifyWith = (set: KeySet): Promise<JWTVerifyResult> =>
      jwtVerify(token, set, options).catch((error) => {
        if (error instanceof errors.JWKSMultipleMatchingKeys) return verifyWithAny(token, error, options);
        throw error;
      });
    const current = await keys.current();
    try {
      return await verifyWith(current);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      const newer = await keys.newerThan(current);
      if (!newer) throw error;
      return await verifyWith(newer);
    }
  }

  /** @throws RefusedToken for what is no access token of a caller */
  #principalOf(claims: JWTPayload, type: string | undefined): Principal | RefusedToken {
    const { settings } = this.#options;
    const { scopeClaim, userClaim, clients, subjectKey } = settings;
    checkTokenKind(claims, type, settings);
    const { iss = '', sub = '' } = claims;
    if (sub === '' || sub.length > maxSubjectLength) throw new RefusedToken('sub');
    const user = userClaim === undefined ? undefined : claims[userClaim];
    if (user !== undefined) {
      if (typeof user !== 'number' || !Number.isSafeInteger(user) || user < 1) throw new RefusedToken('user claim');
      return new Principal({ sub: `user:${user}`, scopes: [], user });
    }
    if (clients && !isOfClient(claims, clients)) return new RefusedToken('client');
    const id = createHmac('sha256', subjectKey).update(`${iss}\0${sub}`).digest('base64url');
    return new Principal({ sub: `subject:${id}`, scopes: scopesIn(claims[scopeClaim]) });
  }
}

/** For a token without a `kid`, of a provider with several keys of its algorithm. */
async function verifyWithAny(
  token: string,
  candidates: errors.JWKSMultipleMatchingKeys,
  options: Parameters<typeof jwtVerify>[2],
): Promise<JWTVerifyResult> {
  let tried = 0;
  for await (const key of candidates) {
    try {
      return await jwtVerify(token, key, options);
    } catch (error) {
      tried += 1;
      if (!(error instanceof errors.JWSSignatureVerificationFailed) || tried === maxCandidates) throw error;
    }
  }
  throw new RefusedToken('signature');
}

/** Unknown scopes are those of other APIs. */
function scopesIn(claim: unknown): string[] {
  const names = typeof claim === 'string' ? claim.split(' ') : Array.isArray(claim) ? claim : [];
  return [...new Set(names.filter((name): name is string => typeof name === 'string' && isScope(name)))];
}

function endOf({ exp = 0 }: JWTPayload): number {
  return (exp + clockToleranceSeconds) * 1_000;
}

/** The claim that is wrong, or the kind of the fault. */
function reasonOf(error: unknown): string {
  const { claim, code, name } = Object(error) as { claim?: unknown; code?: unknown; name?: unknown };
  return typeof claim === 'string' && requiredClaims.includes(claim) ? claim : String(code ?? name);
}
