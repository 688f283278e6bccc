// The use cases of promotions. An edit locks its row, asks the rules, and records its event in one transaction; a status
// change is one statement that does the same.
import { type EntityManager, LockMode } from '@mikro-orm/postgresql';
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import type { Database } from '@promopulse/shared/database/database';
import { notFound } from '@promopulse/shared/errors';
import { recordEvent } from '@promopulse/shared/outbox/outbox';
import { Promotion } from './entities.ts';
import { promotionState } from './presentation.ts';
import { findPromotion, listPromotions, type PromotionRow, type StatusEvent, transitionStatus } from './queries.ts';
import { allowedFrom, checkEdit, checkPeriod, checkTransition, type Field } from './rules.ts';

export interface NewPromotion {
  name: string;
  description?: string | null | undefined;
  start_at: Date;
  end_at: Date;
}
export type PromotionChanges = { [Name in Field]?: NewPromotion[Name] | undefined };

export function createPromotions(database: Database) {
  /** @throws invalidInput unless the period ends after it starts */
  async function createPromotion(input: NewPromotion, requestId: string): Promise<Promotion> {
    const refusal = checkPeriod(input.start_at, input.end_at);
    if (refusal) throw refusal;
    return await database.transaction(async (em) => {
      const promotion = em.create(Promotion, { ...input, description: input.description ?? null });
      await em.flush();
      await recordEvent(em, 'promotion.created', promotion.id, promotionState(promotion), { requestId });
      return promotion;
    });
  }

  /** Only the fields given are changed, all or none. @throws notFound, ruleViolation by status, or invalidInput by period */
  async function updatePromotion(id: number, changes: PromotionChanges, requestId: string): Promise<Promotion> {
    const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
    return await database.transaction(async (em) => {
      const promotion = await lockPromotion(em, id);
      const refusal =
        checkEdit(promotion.status, Object.keys(given) as Field[]) ??
        checkPeriod(changes.start_at ?? promotion.start_at, changes.end_at ?? promotion.end_at);
      if (refusal) throw refusal;
      const { version } = promotion;
      Object.assign(promotion, given);
      await em.flush();
      if (promotion.version !== version) {
        await recordEvent(em, 'promotion.updated', id, promotionState(promotion), { requestId });
      }
      return promotion;
    });
  }

  /**
   * Moves a promotion to a status by one statement; asking for the status it has changes nothing.
   * @throws notFound, or ruleViolation when the way is not open
   */
  async function changeStatus(
    id: number,
    status: PromotionStatus,
    event: StatusEvent,
  ): Promise<{ promotion: PromotionRow; changed: boolean }> {
    const moved = await transitionStatus(database, id, status, allowedFrom(status), event);
    if (moved) return { promotion: moved, changed: true };
    const promotion = await getPromotion(id);
    if (promotion.status === status) return { promotion, changed: false };
    const refusal = checkTransition(promotion.status, status);
    if (refusal) throw refusal;
    return await changeStatus(id, status, event); // somebody has moved it meanwhile, which can happen only twice
  }

  /** @throws notFound */
  async function getPromotion(id: number): Promise<PromotionRow> {
    const promotion = await findPromotion(database, id);
    if (!promotion) throw notFound('Promotion not found');
    return promotion;
  }

  /** A page by ascending id, for neighbours that rebuild what they know. */
  async function listPromotionStates(afterId: number, limit: number): Promise<Promotion[]> {
    return await database.em().find(Promotion, { id: { $gt: afterId } }, { orderBy: { id: 'asc' }, limit });
  }

  return {
    createPromotion,
    updatePromotion,
    changeStatus,
    getPromotion,
    listPromotions: (filter: Parameters<typeof listPromotions>[1]) => listPromotions(database, filter),
    listPromotionStates,
  };
}

async function lockPromotion(em: EntityManager, id: number): Promise<Promotion> {
  const promotion = await em.findOne(Promotion, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  if (!promotion) throw notFound('Promotion not found');
  return promotion;
}
