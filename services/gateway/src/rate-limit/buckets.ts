// The shares of the callers, as this gateway counts them. With a store, all gateways count together: this one takes a few
// units of a caller at a time (a lease) and spends them from memory. Without one, and while the database is away, this
// gateway counts alone, with the whole quota.
import { RecentMap } from '@promopulse/shared/values/recent-map';
import { availableUnits, charge, type Policy, secondsUntil, unused } from './gcra.ts';

/** Callers that are remembered. An entry has some 300 bytes. A caller that is forgotten here is still in the store. */
const maxCallers = 20_000;

/** Units of a lease that are not spent after this time, in seconds, are lost. */
const leaseSeconds = 1;
/** A lease has the units of a twentieth of a second. */
const leasesPerSecond = 20;

/** What a caller has left under one policy. */
export interface Limit {
  policy: Policy;
  /** Units. */
  remaining: number;
  /** Whole seconds until there is one unit more than `remaining`, at least 1. */
  moreAfterSeconds: number;
}

export interface Decision {
  isAdmitted: boolean;
  /** Of all policies when the request is admitted, and of the violated ones when it is not. */
  limits: readonly Limit[];
  /** Whole seconds, not less than `moreAfterSeconds` of any limit. After them there are as many units as were asked for. */
  retryAfterSeconds: number;
}

/** What the store has granted, and what it knows of the bucket afterwards. */
export interface Grant {
  /** From 0 to the units that were asked for. */
  units: number;
  /** For each policy, seconds until the bucket is full. */
  secondsUntilFull: readonly number[];
}

/** The buckets that all gateways share. */
export interface BucketStore {
  /** Whether to ask it now. False for a while after a failure. */
  isAvailable(): boolean;
  /** Takes up to `units` from the bucket of a client, as many as all policies grant. @throws when it does not answer */
  take(client: string, units: number): Promise<Grant>;
}

interface Waiter {
  cost: number;
  settle(decision: Decision): void;
}

interface Units {
  /** For each policy: when the bucket is full again, by this gateway's clock, as far as it has heard. */
  tats: readonly number[];
  /** Units that the store has granted and no request has spent. At most the size of a lease. */
  held: number;
}

/** What this gateway knows of one caller. */
interface Share extends Units {
  heldUntil: number;
  /** Requests for which the store will be asked after its present answer. */
  waiting: Waiter[];
  /** Units of all requests for which the store was not asked yet, or has not answered. */
  pendingUnits: number;
  isAsking: boolean;
}

interface BucketsOptions {
  store?: BucketStore | undefined;
  /** Seconds of a monotonic clock. */
  now?(): number;
}

/** How many units a gateway takes at once: so few that what all gateways hold hardly adds to the quota. */
export function leaseUnitsOf(policies: readonly Policy[]): number {
  return Math.min(
    ...policies.map(({ quota, windowSeconds }) => Math.max(1, Math.floor(quota / windowSeconds / leasesPerSecond))),
  );
}

/**
 * A caller's request is admitted when all policies grant its cost. In any span of D seconds, R gateways with one store
 * admit at most quota + D / T + R × lease units of a caller (T: seconds per unit). What is refused costs nothing.
 */
export class Buckets {
  readonly #policies: readonly Policy[];
  readonly #store: BucketStore | undefined;
  readonly #now: () => number;
  readonly #leaseUnits: number;
  readonly #maxUnits: number;
  readonly #shares = new RecentMap<string, Share>(maxCallers);

  /** @param policies one or more */
  constructor(policies: readonly Policy[], { store, now = () => performance.now() / 1_000 }: BucketsOptions = {}) {
    this.#policies = policies;
    this.#store = store;
    this.#now = now;
    this.#leaseUnits = leaseUnitsOf(policies);
    this.#maxUnits = Math.min(...policies.map(({ quota }) => quota));
  }

  /** @param cost units, at most the smallest quota @returns at once unless the store must be asked; never rejects */
  take(client: string, cost: number): Decision | Promise<Decision> {
    const now = this.#now();
    const share = this.#shareOf(client);
    dropExpired(share, now);
    if (!share.isAsking && share.held >= cost) return this.#spend(share, cost, now);
    const expected = this.#afterPending(share, now);
    if (!this.#couldGrant(expected, cost, now)) return this.#refuse(expected, cost, now);
    if (!share.isAsking && !this.#store?.isAvailable()) return this.#takeHere(share, cost, now);
    return this.#wait(client, share, cost);
  }

  /** What `take` would refuse. Nothing is spent. @returns undefined when it would not refuse */
  refusalOf(client: string, cost: number): Decision | undefined {
    const share = this.#shares.get(client);
    const now = this.#now();
    return share && !this.#couldGrant(share, cost, now) ? this.#refuse(share, cost, now) : undefined;
  }

  #shareOf(client: string): Share {
    const known = this.#shares.get(client);
    if (known) return known;
    const tats = this.#policies.map(() => unused);
    const share: Share = { tats, held: 0, heldUntil: 0, waiting: [], pendingUnits: 0, isAsking: false };
    this.#shares.set(client, share);
    return share;
  }

  /** The state when those that wait have got what they ask for. */
  #afterPending(share: Share, now: number): Units {
    const { tats, held, pendingUnits } = share;
    if (pendingUnits === 0) return share;
    return { tats: this.#charge(tats, Math.max(0, pendingUnits - held), now), held: Math.max(0, held - pendingUnits) };
  }

  #charge(tats: readonly number[], units: number, now: number): number[] {
    return this.#policies.map((policy, index) => charge(policy, tatAt(tats, index), { units, now }));
  }

  /** Whether the units may be there. Another gateway may have taken them, and gives none back. */
  #couldGrant({ tats, held }: Units, cost: number, now: number): boolean {
    return this.#policies.every((policy, index) => availableUnits(policy, tatAt(tats, index), now) + held >= cost);
  }

  #takeHere(share: Share, cost: number, now: number): Decision {
    if (!this.#couldGrant(share, cost, now)) return this.#refuse(share, cost, now);
    const units = Math.max(0, cost - share.held);
    share.tats = this.#charge(share.tats, units, now);
    share.held += units;
    return this.#spend(share, cost, now);
  }

  #wait(client: string, share: Share, cost: number): Promise<Decision> {
    return new Promise((settle) => {
      share.waiting.push({ cost, settle });
      share.pendingUnits += cost;
      if (!share.isAsking) void this.#ask(client, share);
    });
  }

  /** One question at a time for each caller. It is for all that wait. */
  async #ask(client: string, share: Share): Promise<void> {
    share.isAsking = true;
    while (share.waiting.length > 0) {
      const asking = share.waiting.splice(0);
      const needed = asking.reduce((sum, { cost }) => sum + cost, 0);
      const decide = await this.#fetch(client, share, needed);
      share.pendingUnits -= needed;
      for (const { cost, settle } of asking) settle(decide(cost));
    }
    share.isAsking = false;
  }

  /** @returns how to decide each of the requests after the answer of the store, or without it */
  async #fetch(client: string, share: Share, needed: number): Promise<(cost: number) => Decision> {
    const askedAt = this.#now();
    dropExpired(share, askedAt);
    if (share.held >= needed) return (cost) => this.#spend(share, cost, askedAt);
    const wanted = Math.min(Math.max(needed, this.#leaseUnits) - share.held, this.#maxUnits);
    const grant = await this.#store?.take(client, wanted).catch(() => undefined);
    const now = this.#now();
    dropExpired(share, now);
    if (!grant) return (cost) => this.#takeHere(share, cost, now);
    // The store has read its clock before this moment: so a time to wait is never too short.
    share.tats = grant.secondsUntilFull.map((seconds) => now + seconds);
    share.held += grant.units;
    if (grant.units > 0) share.heldUntil = askedAt + leaseSeconds;
    return (cost) => (share.held >= cost ? this.#spend(share, cost, now) : this.#refuse(share, cost, now));
  }

  #spend(share: Share, cost: number, now: number): Decision {
    share.held -= cost;
    return this.#admit(share, now);
  }

  #admit({ tats, held }: Units, now: number): Decision {
    const limits = this.#policies.map((policy, index) => limitOf(policy, tatAt(tats, index), now, held));
    return { isAdmitted: true, limits, retryAfterSeconds: 0 };
  }

  #refuse({ tats, held }: Units, cost: number, now: number): Decision {
    const all = this.#policies.map((policy, index) => limitOf(policy, tatAt(tats, index), now, held));
    const least = Math.min(...all.map(({ remaining }) => remaining));
    const limits = all.filter(({ remaining }) => remaining < Math.max(cost, least + 1));
    const waits = limits.map(({ policy, moreAfterSeconds }) => {
      const tat = tatAt(tats, this.#policies.indexOf(policy));
      // The units that are held expire, so the time to wait does not count on them.
      return Math.max(moreAfterSeconds, Math.ceil(secondsUntil(policy, tat, { units: cost, now })));
    });
    return { isAdmitted: false, limits, retryAfterSeconds: Math.max(...waits) };
  }
}

function dropExpired(share: Share, now: number): void {
  if (share.heldUntil <= now) share.held = 0;
}

function tatAt(tats: readonly number[], index: number): number {
  return tats[index] ?? unused;
}

function limitOf(policy: Policy, tat: number, now: number, held: number): Limit {
  const available = availableUnits(policy, tat, now);
  const seconds = secondsUntil(policy, tat, { units: available + 1, now });
  return { policy, remaining: available + held, moreAfterSeconds: Math.max(1, Math.ceil(seconds)) };
}
