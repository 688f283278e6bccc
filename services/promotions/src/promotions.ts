// The use cases of promotions. A creation and a status change are one statement each. An edit locks its row, asks the
// rules and records its event in one transaction.
import { randomUUID } from 'node:crypto';
import { type EntityManager, type InferEntity, LockMode } from '@mikro-orm/postgresql';
import { type PromotionStatus, promotionState } from '@promopulse/shared/contracts/promotions';
import type { Database } from '@promopulse/shared/database/database';
import { rowName } from '@promopulse/shared/database/prepared';
import { notFound } from '@promopulse/shared/errors';
import { type EventCause, recordEvent } from '@promopulse/shared/outbox/outbox';
import { presentRow } from '@promopulse/shared/outbox/payload';
import { Promotion } from './entities.ts';
import { findPromotion, insertPromotion, type NewPromotion, type PromotionRow, transitionStatus } from './queries.ts';
import { allowedFrom, checkEdit, checkPeriod, checkTransition, type Field } from './rules.ts';

export type PromotionChanges = { [Name in Field]?: NewPromotion[Name] | undefined };

/** @throws invalidInput unless the period ends after it starts */
export async function createPromotion(
  database: Database,
  promotion: NewPromotion,
  requestId: string,
): Promise<PromotionRow> {
  const rejection = checkPeriod(promotion.start_at, promotion.end_at);
  if (rejection) throw rejection;
  return await insertPromotion(database, promotion, { requestId, eventId: randomUUID() });
}

/** Changes all the fields given or none. @throws notFound, ruleViolation by the status, or invalidInput by the period */
export async function updatePromotion(
  database: Database,
  id: number,
  changes: PromotionChanges,
  requestId: string,
): Promise<InferEntity<typeof Promotion>> {
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
  const edit = async (em: EntityManager) => {
    const promotion = await lockPromotion(em, id);
    const rejection =
      checkEdit(promotion.status, Object.keys(given) as Field[]) ??
      checkPeriod(changes.start_at ?? promotion.start_at, changes.end_at ?? promotion.end_at);
    if (rejection) throw rejection;
    const { version } = promotion;
    Object.assign(promotion, given);
    await em.flush();
    if (promotion.version !== version) {
      await recordEvent(em, 'promotion.updated', presentRow(promotionState, promotion), { requestId });
    }
    return promotion;
  };
  return await database.transaction(edit, rowName(Promotion, id));
}

/**
 * Sets the status by one statement. The status it already has changes nothing.
 * @throws notFound, or ruleViolation when the rules do not allow the transition
 */
export async function changeStatus(
  database: Database,
  id: number,
  status: PromotionStatus,
  cause: EventCause,
): Promise<{ promotion: PromotionRow; changed: boolean }> {
  const changed = await transitionStatus(database, id, { to: status, from: allowedFrom(status) }, cause);
  if (changed) return { promotion: changed, changed: true };
  const promotion = await getPromotion(database, id);
  if (promotion.status === status) return { promotion, changed: false };
  const rejection = checkTransition(promotion.status, status);
  if (rejection) throw rejection;
  // Another request has changed the status in between. There are two transitions, so this happens at most twice.
  return await changeStatus(database, id, status, cause);
}

/** @throws notFound */
export async function getPromotion(database: Database, id: number): Promise<PromotionRow> {
  const promotion = await findPromotion(database, id);
  if (!promotion) throw notFound('Promotion not found');
  return promotion;
}

async function lockPromotion(em: EntityManager, id: number): Promise<InferEntity<typeof Promotion>> {
  const promotion = await em.findOne(Promotion, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  if (!promotion) throw notFound('Promotion not found');
  return promotion;
}
