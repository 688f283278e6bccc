// The users, promotions and subscriptions of the load, as responses have acknowledged them.
import type { Random } from '../../local/random.ts';

interface User {
  id: number;
  email: string;
}

export interface Subscription {
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
  /** Subscriptions whose deactivation was acknowledged, and that nobody reactivates at the moment. */
  readonly left: Subscription[] = [];
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

  hasLeft(): boolean {
    return this.#recentlyLeft().length > 0;
  }

  /** Removes a random subscription from `left` whose promotion is active. */
  takeLeft(): Subscription {
    const taken = this.#random.pick(this.#recentlyLeft());
    this.left.splice(this.left.indexOf(taken), 1);
    return taken;
  }

  #recentlyLeft(): Subscription[] {
    return this.left.slice(-100).filter(({ promotionId }) => this.active.includes(promotionId));
  }

  anyRecentSubscription(): Subscription {
    return this.#random.pick(this.subscriptions.slice(-50));
  }
}
