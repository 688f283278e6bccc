// Which access tokens are accepted: those of one OpenID provider, for one audience.
import { hkdfSync } from 'node:crypto';
import { ConfigError } from '@promopulse/shared/config';
import { isProduction } from '@promopulse/shared/published-secrets';
import { z } from 'zod';

const providerUrl = z.url({ protocol: /^https?$/, error: 'must be an https:// URL (outside production also http://)' });
const claimName = z.string().regex(/^[\w:./-]{1,200}$/, 'must be the name of a claim');

export const oidcConfig = {
  /** The issuer of the tokens, exactly as their `iss`. Unset: no tokens are accepted. */
  OIDC_ISSUER: providerUrl.optional(),
  /** What the `aud` of a token must name. */
  OIDC_AUDIENCE: z.string().max(500).optional(),
  /** Where the keys of the issuer are. Default: where its discovery document says. */
  OIDC_JWKS_URL: providerUrl.optional(),
  /** The `typ` of the tokens. Providers that do not follow RFC 9068 send `JWT`. */
  OIDC_TOKEN_TYPE: z
    .string()
    .regex(/^[\w+./-]{1,50}$/, 'must be a media type, such as at+jwt')
    .default('at+jwt'),
  /** The claim with the scopes: a text with spaces between them, or a list of texts. */
  OIDC_SCOPE_CLAIM: claimName.default('scope'),
  /** The claim with the id of the user that the subject is. Unset: no subject is an end user. */
  OIDC_USER_CLAIM: claimName.optional(),
  /** The clients (`client_id` or `azp`) whose tokens act by their scopes. Default: every client, or none with OIDC_USER_CLAIM. */
  OIDC_CLIENTS: z
    .string()
    .transform((text) => text.split(',').map((name) => name.trim()))
    .refine(
      (names) => names.every((name) => /^[\x21-\x7e]{1,255}$/.test(name)),
      'must be ids of clients, separated by commas',
    )
    .optional(),
  /** 32 bytes in base64url, from which the ids of subjects are made. Required with an issuer. */
  OIDC_SUBJECT_KEY: z
    .string()
    .regex(/^[\w-]{43}=?$/, 'must be 32 bytes in base64url (make them with npm run keys:generate)')
    .optional(),
};

const subjectKeyMissing =
  'OIDC_ISSUER is set without OIDC_SUBJECT_KEY, from which the ids of subjects are made: make one with npm run keys:generate, or set it to the first of ACTOR_KEYS to keep the ids of a release that used that.';

type OidcConfig = z.infer<z.ZodObject<typeof oidcConfig>>;

export interface OidcSettings {
  issuer: string;
  audience: string;
  jwksUrl: string | undefined;
  tokenType: string;
  scopeClaim: string;
  userClaim: string | undefined;
  /** Ids of the clients whose tokens act by their scopes. Undefined: all clients. */
  clients: ReadonlySet<string> | undefined;
  /** Makes the ids of subjects. */
  subjectKey: Buffer;
}

/**
 * @returns undefined when no tokens are accepted
 * @throws ConfigError when the audience or the key of subjects is missing, or in production when a URL is not https
 */
export function oidcSettingsOf(config: OidcConfig & { ENVIRONMENT: string }): OidcSettings | undefined {
  const { OIDC_ISSUER: issuer, OIDC_AUDIENCE: audience, OIDC_JWKS_URL: jwksUrl } = config;
  if (issuer === undefined) return undefined;
  if (audience === undefined) {
    throw new ConfigError('OIDC_ISSUER is set without OIDC_AUDIENCE: tokens for other APIs would be accepted.');
  }
  if (isProduction(config.ENVIRONMENT) && [issuer, jwksUrl].some((url) => url?.startsWith('http:'))) {
    throw new ConfigError('OIDC_ISSUER and OIDC_JWKS_URL must be https:// with ENVIRONMENT=production.');
  }
  const { OIDC_SUBJECT_KEY: subjectSecret, OIDC_USER_CLAIM: userClaim } = config;
  if (subjectSecret === undefined) throw new ConfigError(subjectKeyMissing);
  // Where subjects can be end users, a token that names none is of somebody who is not one yet, and no operator.
  const clients = config.OIDC_CLIENTS ?? (userClaim === undefined ? undefined : []);
  return {
    ...{ issuer, audience, jwksUrl, userClaim },
    tokenType: config.OIDC_TOKEN_TYPE,
    scopeClaim: config.OIDC_SCOPE_CLAIM,
    clients: clients && new Set(clients),
    subjectKey: subjectKeyOf(subjectSecret),
  };
}

/** @param secret 32 bytes in base64url: what is derived from it differs from all other uses of the same key */
export function subjectKeyOf(secret: string): Buffer {
  return Buffer.from(hkdfSync('sha256', Buffer.from(secret, 'base64url'), '', 'promopulse subject id', 32));
}
