// The users, promotions and subscriptions of the load, as responses have acknowledged them.
import type { Random } from './random.ts';

interface User {
  id: number;
  email: string;
}

interface Subscription {
  id: number;
  userId: number;
  promotionId: number;
}

export class LoadEntities {
  readonly users: User[] = [];
  /** Ids of promotions. A promotion is in neither list while a change of its status is in flight. */
  readonly drafts: number[] = [];
  readonly active: number[] = [];
  readonly subscriptions: Subscription[] = [];
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  anyUser(): User {
    return this.#random.pick(this.users);
  }

  anyOf(ids: readonly number[]): number {
    return this.#random.pick(ids);
  }

  /** Removes a random id from the list. */
  takeFrom(ids: number[]): number {
    return ids.splice(this.#random.between(0, ids.length - 1), 1)[0] as number;
  }

  anySubscription(): Subscription {
    return this.#random.pick(this.subscriptions);
  }

  anyRecentSubscription(): Subscription {
    return this.#random.pick(this.subscriptions.slice(-50));
  }
}
