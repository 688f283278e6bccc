// The operations of the load. Each one sends a request (or a few), and records in the entities what was acknowledged.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../local/random.ts';
import { badRequests } from './bad-requests.ts';
import { type Canary, emailOf, phoneOf } from './canary.ts';
import { type Attempt, isUnanswered, type RequestKind } from './history.ts';
import type { LoadClient } from './load-client.ts';
import type { LoadEntities, Subscription } from './load-entities.ts';

/** Delays after the response to an end, in milliseconds, at which a user tries to subscribe. */
const lateSubscribesMs = [0, 500, 2_000, 4_500, 7_500, 11_000];
const shareWithPhone = 0.7;

interface Sources {
  client: LoadClient;
  entities: LoadEntities;
  random: Random;
  canary: Canary;
}

export class LoadOperations {
  readonly #client: LoadClient;
  readonly #entities: LoadEntities;
  readonly #random: Random;
  readonly #canary: Canary;

  constructor({ client, entities, random, canary }: Sources) {
    this.#client = client;
    this.#entities = entities;
    this.#random = random;
    this.#canary = canary;
  }

  newEmail(): string {
    return emailOf(this.#canary, this.#client.nextNumber);
  }

  newPhone(): string {
    return phoneOf(this.#canary, this.#client.nextNumber);
  }

  async createUser(email: string): Promise<void> {
    const names = { first_name: `U${this.#client.nextNumber}`, last_name: 'Chaos' };
    const phone = this.#random.next() < shareWithPhone ? { phone: this.newPhone() } : {};
    const body = { ...names, email, ...phone };
    const { status, id } = await this.#client.send({ kind: 'create user', method: 'POST', path: '/users', body });
    if (status === 201 && id) this.#entities.users.push({ id, email });
  }

  /** Two requests with the same new email at the same moment. */
  async createSameUserTwice(): Promise<void> {
    const email = this.newEmail();
    await Promise.all([this.createUser(email), this.createUser(email)]);
  }

  async changeUser(body: { email?: string; phone?: string | null }): Promise<void> {
    const user = this.#entities.anyUser();
    const path = `/users/${user.id}`;
    const { status } = await this.#client.send({ kind: 'change user', method: 'PATCH', path, body });
    if (status === 200 && body.email) user.email = body.email;
  }

  async createPromotion(): Promise<void> {
    const period = { start_at: '2026-01-01T00:00:00Z', end_at: '2036-01-01T00:00:00Z' };
    const body = { name: `P${this.#client.nextNumber}`, ...period };
    const path = '/promotions';
    const { status, id } = await this.#client.send({ kind: 'create promotion', method: 'POST', path, body });
    if (status === 201 && id) this.#entities.drafts.push(id);
  }

  /** After a success a user subscribes at once. */
  async activate(id: number): Promise<void> {
    const { status } = await this.#setStatus('activate', id, 'active');
    if (status !== 200) this.#entities.drafts.push(id);
    else {
      this.#entities.active.push(id);
      await this.subscribeAnyUser(id);
    }
  }

  /** A promotion whose end fails may be ended again. */
  async endOne(): Promise<void> {
    const { active } = this.#entities;
    const id = this.#entities.takeFrom(active);
    const { status } = await this.end(id);
    if (status !== 200) active.push(id);
  }

  /** After a success users try to subscribe at increasing delays. */
  async end(id: number): Promise<Attempt> {
    const attempt = await this.#setStatus('end', id, 'ended');
    if (attempt.status === 200) this.#client.track(this.#subscribeLate(id));
    return attempt;
  }

  async #subscribeLate(id: number): Promise<void> {
    let waitedMs = 0;
    for (const delayMs of lateSubscribesMs) {
      await sleep(delayMs - waitedMs);
      waitedMs = delayMs;
      if (!this.#client.isStopped) this.#client.track(this.subscribeAnyUser(id));
    }
  }

  async #setStatus(kind: 'activate' | 'end', id: number, status: string): Promise<Attempt> {
    return await this.#client.send({ kind, method: 'POST', path: `/promotions/${id}/status`, body: { status } });
  }

  async edit(id: number): Promise<void> {
    const body = { description: `D${this.#client.nextNumber}` };
    await this.#client.send({ kind: 'edit', method: 'PATCH', path: `/promotions/${id}`, body });
  }

  subscribeAnyUser(promotionId: number): Promise<Attempt> {
    return this.subscribe(this.#entities.anyUser().id, promotionId);
  }

  async subscribe(userId: number, promotionId: number): Promise<Attempt> {
    const body = { user_id: userId, promotion_id: promotionId, metadata: { source: 'chaos' } };
    const path = '/subscriptions';
    const attempt = await this.#client.send({ kind: 'subscribe', method: 'POST', path, body });
    const { status, id } = attempt;
    if (status === 201 && id) this.#entities.subscriptions.push({ id, userId, promotionId });
    return attempt;
  }

  async subscribeAgain(): Promise<void> {
    const { userId, promotionId } = this.#entities.anySubscription();
    await this.subscribe(userId, promotionId);
  }

  async deactivate(subscription: Subscription): Promise<void> {
    const path = `/subscriptions/${subscription.id}/deactivate`;
    const { status } = await this.#client.send({ kind: 'deactivate', method: 'PATCH', path });
    if (status === 200) this.#entities.left.push(subscription);
  }

  /** One whose reactivation has no answer may be reactivated again. */
  async reactivate(subscription: Subscription): Promise<void> {
    const path = `/subscriptions/${subscription.id}/reactivate`;
    const attempt = await this.#client.send({ kind: 'reactivate', method: 'PATCH', path });
    if (isUnanswered(attempt)) this.#entities.left.push(subscription);
  }

  async get(kind: RequestKind, path: string): Promise<void> {
    await this.#client.send({ kind, method: 'GET', path });
  }

  async sendBadRequest(): Promise<void> {
    const [email, phone] = [this.newEmail(), this.newPhone()];
    const userId = this.#entities.anyUser().id;
    await this.#client.send({ kind: 'bad request', ...this.#random.pick(badRequests({ email, phone, userId })) });
  }
}
