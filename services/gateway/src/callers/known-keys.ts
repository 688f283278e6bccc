// The API keys that one gateway knows, by the digests of their secrets.
import { RecentMap } from '@promopulse/shared/values/recent-map';
import type { KnownKeyRow } from './key-store.ts';
import { Principal } from './principal.ts';

/** Maximum number of digests that are remembered as ended, and of ids as revoked. */
const maxEnded = 10_000;

export interface KnownKey {
  id: string;
  principal: Principal;
  /** Milliseconds since 1970, by the database's clock. */
  until: number;
}

export class KnownKeys {
  /** A rotated key is there twice, until its former secret ends. */
  readonly #keys = new Map<string, KnownKey>();
  /** Id of a key → the digests of its secrets. */
  readonly #digests = new Map<string, readonly string[]>();
  /** Of keys that were revoked or have expired since the start: the database need not be asked for them. */
  readonly #ended = new RecentMap<string, true>(maxEnded);
  /** Ids. No revocation is taken back, so a row that says otherwise was read before it. */
  readonly #revoked = new RecentMap<string, true>(maxEnded);

  /** @param now by the database's clock @returns `ended` for a secret that is not valid any more, undefined for an unknown one */
  find(digest: string, now: number): KnownKey | 'ended' | undefined {
    const key = this.#keys.get(digest);
    if (key) return key.until > now ? key : 'ended';
    return this.#ended.get(digest) ? 'ended' : undefined;
  }

  /** @param rows every usable key: all others have ended */
  replaceAll(rows: readonly KnownKeyRow[]): void {
    const usable = new Set(rows.map(({ id }) => id));
    for (const id of this.#digests.keys()) if (!usable.has(id)) this.#remove(id);
    this.replace(rows);
  }

  replace(rows: readonly KnownKeyRow[]): void {
    for (const row of rows) {
      if (row.is_revoked) this.end(row.id);
      else if (!this.#revoked.get(row.id)) this.#set(row);
    }
  }

  #set({
    id,
    scopes,
    digest,
    former_digest: former,
    expires_at: end,
    former_expires_at: formerEnd,
  }: KnownKeyRow): void {
    const until = end ?? Number.POSITIVE_INFINITY;
    const principal = this.#principalOf(id) ?? new Principal({ sub: `key:${id}`, scopes });
    const secrets = [{ text: digest.toString('base64url'), until }];
    if (former) secrets.push({ text: former.toString('base64url'), until: Math.min(until, formerEnd ?? 0) });
    // A secret before the former one has ended by the rotation.
    for (const text of this.#digests.get(id) ?? [])
      if (!secrets.some((secret) => secret.text === text)) this.#drop(text);
    for (const secret of secrets) this.#keys.set(secret.text, { id, principal, until: secret.until });
    this.#digests.set(
      id,
      secrets.map(({ text }) => text),
    );
  }

  /** The one that is there keeps the header that was signed for it: the scopes of a key never change. */
  #principalOf(id: string): Principal | undefined {
    return this.#keys.get(this.#digests.get(id)?.[0] ?? '')?.principal;
  }

  /** Of a revoked key: no row brings it back. */
  end(id: string): void {
    this.#revoked.set(id, true);
    this.#remove(id);
  }

  #remove(id: string): void {
    for (const digest of this.#digests.get(id) ?? []) this.#drop(digest);
    this.#digests.delete(id);
  }

  #drop(digest: string): void {
    this.#keys.delete(digest);
    this.#ended.set(digest, true);
  }
}
