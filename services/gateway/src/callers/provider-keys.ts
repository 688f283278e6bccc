// The public keys of the OpenID provider. jose's own remote key set fails every token 10 minutes after the last fetch
// while the provider is away, and fetches for each unknown `kid` then. So the fetching is here, and jose gets local sets.
import { type DomainError, unavailable } from '@promopulse/shared/errors';
import { summarizeError } from '@promopulse/shared/telemetry/describe-error';
import { type Logger, warnRepeatedly } from '@promopulse/shared/telemetry/logger';
import { createLocalJWKSet, type JSONWebKeySet } from 'jose';
import { readBoundedText } from '../proxy/bounded-text.ts';

export interface ProviderKeysOptions {
  issuer: string;
  /** Undefined: from the discovery document of the issuer. */
  jwksUrl: string | undefined;
  log: Logger;
  /** Milliseconds between two fetches when nothing asks for one. */
  refreshMs?: number;
  /** Milliseconds from the begin of a fetch to the next one that an unknown `kid` may cause. */
  cooldownMs?: number;
}

export type KeySet = ReturnType<typeof createLocalJWKSet>;

const defaultRefreshMs = 300_000;
const defaultCooldownMs = 5_000;
const retryMs = 10_000;
const fetchTimeoutMs = 3_000;
/** Maximum size of a document of the provider. */
const maxDocumentBytes = 262_144;

/**
 * States: empty (no fetch has succeeded), filled, and filled but failing: the keys in hand stay, for as long as the
 * provider is away. Fetches come by a timer, and for a token whose key is not there.
 */
export class ProviderKeys {
  readonly #options: ProviderKeysOptions;
  readonly #refreshMs: number;
  readonly #cooldownMs: number;
  #jwksUrl: string | undefined;
  #keys: KeySet | undefined;
  #isFailing = false;
  #currentAt = Number.NEGATIVE_INFINITY;
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #fetching: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: ProviderKeysOptions) {
    this.#options = options;
    this.#refreshMs = options.refreshMs ?? defaultRefreshMs;
    this.#cooldownMs = options.cooldownMs ?? defaultCooldownMs;
    this.#jwksUrl = options.jwksUrl;
  }

  /** Begins to fetch. It does not wait: API keys work without the provider. */
  start(): void {
    void this.#fetch();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /** Seconds since the last fetch that has succeeded; Infinity when none has. */
  ageSeconds(): number {
    return (performance.now() - this.#currentAt) / 1_000;
  }

  /** @throws unavailable while there are no keys */
  async current(): Promise<KeySet> {
    if (!this.#keys) await this.#fetchUnlessCooling();
    if (!this.#keys) throw providerUnavailable();
    return this.#keys;
  }

  /**
   * For a token whose key is not in `current`: the provider may have a new one.
   * @returns the keys after a fetch that may have been made for another token; undefined when there are no newer ones
   * @throws unavailable when the provider does not answer, so that it is not known whether the key exists
   */
  async newerThan(keys: KeySet): Promise<KeySet | undefined> {
    if (this.#keys === keys) await this.#fetchUnlessCooling();
    if (this.#isFailing) throw providerUnavailable();
    return this.#keys === keys ? undefined : this.#keys;
  }

  async #fetchUnlessCooling(): Promise<void> {
    const isCooling = performance.now() - this.#fetchedAt < this.#cooldownMs;
    await (isCooling ? this.#fetching : this.#fetch());
  }

  /** One fetch at a time. Never rejects. */
  #fetch(): Promise<void> {
    if (this.#fetching) return this.#fetching;
    clearTimeout(this.#timer);
    this.#fetchedAt = performance.now();
    this.#fetching = this.#load().finally(() => {
      this.#fetching = undefined;
      if (this.#isStopped) return;
      this.#timer = setTimeout(
        () => void this.#fetch(),
        this.#isFailing ? Math.min(retryMs, this.#refreshMs) : this.#refreshMs,
      );
      this.#timer.unref();
    });
    return this.#fetching;
  }

  async #load(): Promise<void> {
    const { issuer, jwksUrl, log } = this.#options;
    try {
      this.#jwksUrl ??= await discoverKeys(issuer);
      const keys = createLocalJWKSet((await fetchDocument(this.#jwksUrl)) as unknown as JSONWebKeySet);
      if (this.#isFailing) log.info({ issuer }, 'the keys of the token issuer are current again');
      this.#keys = keys;
      this.#currentAt = performance.now();
      this.#isFailing = false;
    } catch (error) {
      this.#isFailing = true;
      this.#jwksUrl = jwksUrl; // the issuer may have moved its keys
      warnRepeatedly(log, { issuer, ...summarizeError(error) }, 'the keys of the token issuer cannot be fetched');
    }
  }
}

/** @throws Error when the document is not of this issuer (OpenID Connect Discovery 4.3) */
async function discoverKeys(issuer: string): Promise<string> {
  const document = await fetchDocument(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  const { issuer: named, jwks_uri: keys } = document;
  if (named !== issuer) throw failure('OTHER_ISSUER');
  const isSafe = typeof keys === 'string' && URL.canParse(keys) && /^https?:$/.test(new URL(keys).protocol);
  if (!isSafe || (issuer.startsWith('https:') && !keys.startsWith('https:'))) {
    throw failure('NO_JWKS_URI');
  }
  return keys;
}

async function fetchDocument(url: string): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    headers: { Accept: 'application/json, application/jwk-set+json' },
    redirect: 'error',
    signal: AbortSignal.timeout(fetchTimeoutMs),
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw failure(`HTTP_${response.status}`);
  }
  return JSON.parse(await readBoundedText(response, maxDocumentBytes)) as Record<string, unknown>;
}

/** @param code for the log, which has no messages */
function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

function providerUnavailable(): DomainError {
  return unavailable('Access tokens cannot be checked at present. Retry after the time in Retry-After.');
}
