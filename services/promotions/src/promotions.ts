// The use cases of promotions. A creation and a status change are one statement each. An edit locks its row, asks the
// rules, and records its event and the history in one transaction.
import { randomUUID } from 'node:crypto';
import { type EntityManager, type InferEntity, LockMode } from '@mikro-orm/postgresql';
import type { Cause } from '@promopulse/shared/contracts/cause';
import { type PromotionStatus, promotionState } from '@promopulse/shared/contracts/promotions';
import type { Database } from '@promopulse/shared/database/database';
import { rowName } from '@promopulse/shared/database/prepared';
import { type DomainError, notFound } from '@promopulse/shared/errors';
import { changesBetween } from '@promopulse/shared/history/history-table';
import { recordHistory } from '@promopulse/shared/history/record-history';
import { insufficientScope } from '@promopulse/shared/http/caller/access';
import type { Caller } from '@promopulse/shared/http/caller/caller';
import {
  checkVersion,
  entityTag,
  findFalseCondition,
  type TargetResource,
} from '@promopulse/shared/http/preconditions';
import { type EventCause, recordEvent } from '@promopulse/shared/outbox/outbox';
import { presentRow } from '@promopulse/shared/outbox/payload';
import { Promotion, promotionHistory } from './entities.ts';
import { findPromotion, insertPromotion, type NewPromotion, type PromotionRow, transitionStatus } from './queries.ts';
import { allowedFrom, checkEdit, checkPeriod, checkTransition, type Field, isPublished } from './rules.ts';

export type PromotionChanges = { [Name in Field]?: NewPromotion[Name] | undefined };

/** @throws invalidInput unless the period ends after it starts */
export async function createPromotion(
  database: Database,
  promotion: NewPromotion,
  cause: Cause,
): Promise<PromotionRow> {
  const rejection = checkPeriod(promotion.start_at, promotion.end_at);
  if (rejection) throw rejection;
  return await insertPromotion(database, promotion, { ...cause, eventId: randomUUID() });
}

/**
 * Changes all the fields given or none.
 * @throws notFound, then precondition_failed, then ruleViolation by the status, or invalidInput by the period
 */
export async function updatePromotion(
  database: Database,
  { id, conditions }: TargetResource,
  changes: PromotionChanges,
  cause: Cause,
): Promise<InferEntity<typeof Promotion>> {
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
  const edit = async (em: EntityManager) => {
    const promotion = await lockPromotion(em, id);
    const rejection =
      checkVersion(conditions, promotion.version) ??
      checkEdit(promotion.status, Object.keys(given) as Field[]) ??
      checkPeriod(changes.start_at ?? promotion.start_at, changes.end_at ?? promotion.end_at);
    if (rejection) throw rejection;
    const before = presentRow(promotionState, promotion);
    Object.assign(promotion, given);
    await em.flush();
    if (promotion.version !== before.version) {
      await em.refresh(promotion); // the database has set `updated_at`, and MikroORM gets back only the version
      const after = presentRow(promotionState, promotion);
      await recordEvent(em, 'promotion.updated', after, cause);
      await recordHistory(
        em,
        promotionHistory,
        { id, changes: changesBetween(promotionHistory, before, after) },
        cause,
      );
    }
    return promotion;
  };
  return await database.transaction(edit, rowName(Promotion, id));
}

/**
 * Sets the status by one statement. The status it already has changes nothing, also when If-Match is false: the change
 * has been made already (RFC 9110 13.1.1).
 * @throws notFound, then precondition_failed, then ruleViolation when the rules do not allow the transition
 */
export async function changeStatus(
  database: Database,
  target: TargetResource,
  status: PromotionStatus,
  cause: EventCause,
): Promise<{ promotion: PromotionRow; changed: boolean }> {
  const changed = await transitionStatus(database, target, { to: status, from: allowedFrom(status) }, cause);
  if (changed) return { promotion: changed, changed: true };
  const promotion = await getPromotion(database, target.id);
  const falseCondition = findFalseCondition(target.conditions, entityTag(promotion.version));
  if (promotion.status === status && falseCondition !== 'If-None-Match') return { promotion, changed: false };
  const rejection = checkVersion(target.conditions, promotion.version) ?? checkTransition(promotion.status, status);
  if (rejection) throw rejection;
  // Another request has changed the promotion in between. Without conditions this happens at most twice, because there
  // are two transitions. With If-Match it happens once: a version does not come back.
  return await changeStatus(database, target, status, cause);
}

/** @throws notFound */
export async function getPromotion(database: Database, id: number): Promise<PromotionRow> {
  const promotion = await findPromotion(database, id);
  if (!promotion) throw promotionNotFound();
  return promotion;
}

/** For an end user, a draft is not there. @throws notFound */
export async function getVisiblePromotion(database: Database, id: number, caller: Caller): Promise<PromotionRow> {
  const promotion = await getPromotion(database, id);
  if (caller.userId !== null && !isPublished(promotion.status)) throw promotionNotFound();
  return promotion;
}

/**
 * The status of the promotions in a list. End users get those that are active, unless they ask for another status.
 * @throws insufficientScope when an end user asks for drafts
 */
export function listedStatus(asked: PromotionStatus | undefined, caller: Caller): PromotionStatus | undefined {
  if (caller.userId === null) return asked;
  if (asked !== undefined && !isPublished(asked))
    throw insufficientScope('promotions:read', 'No end user sees drafts.');
  return asked ?? 'active';
}

function promotionNotFound(): DomainError {
  return notFound('Promotion not found');
}

async function lockPromotion(em: EntityManager, id: number): Promise<InferEntity<typeof Promotion>> {
  const promotion = await em.findOne(Promotion, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  if (!promotion) throw promotionNotFound();
  return promotion;
}
