// Who a credential stands for, and the header by which services learn it.
import { type ActorClaims, type ActorKey, signActor } from '@promopulse/shared/http/caller/actor-token';
import { type Caller, callerOfClaims } from '@promopulse/shared/http/caller/caller';

/** A header is signed again when it is this old. It stays valid for as long again, for a request that is under way. */
const headerSeconds = 30;

/** One caller, for as long as its credential is known. */
export class Principal {
  readonly caller: Caller;
  readonly #claims: Omit<ActorClaims, 'exp'>;
  #header = '';
  /** Seconds since 1970. */
  #signedAt = Number.NEGATIVE_INFINITY;

  constructor(claims: Omit<ActorClaims, 'exp'>) {
    this.#claims = claims;
    this.caller = callerOfClaims({ ...claims, exp: 0 });
  }

  /** @returns the value of `x-internal-actor`, made once in 30 s */
  header(key: ActorKey): string {
    const now = Math.floor(Date.now() / 1_000);
    // A clock that was set back must not keep an old header, whose end would be far ahead.
    if (Math.abs(now - this.#signedAt) >= headerSeconds) {
      this.#header = signActor({ ...this.#claims, exp: now + 2 * headerSeconds }, key);
      this.#signedAt = now;
    }
    return this.#header;
  }
}
