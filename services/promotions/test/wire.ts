// Test frame: the requests of promotions in one word each.
import type { PromotionStatus } from '@promopulse/shared/contracts/promotions';
import { type Client, type ClientResponse, problem } from '@promopulse/testing/client';
import type { TestService } from '@promopulse/testing/service';

export interface Promotion {
  id: number;
  name: string;
  description: string | null;
  status: PromotionStatus;
  start_at: string;
  end_at: string;
  created_at: string;
  updated_at: string;
  created_by: number | null;
}

export const summerSale = {
  name: 'Summer Sale',
  description: 'Get 20% off',
  start_at: '2026-06-01T00:00:00Z',
  end_at: '2026-06-30T23:59:59Z',
};

/** @throws Error when the answer is not 201 */
export async function createPromotion(api: Client, fields: object = {}): Promise<Promotion> {
  return expectStatus(201, await api.post<Promotion>('/promotions', { ...summerSale, ...fields }));
}

export const setStatus = (api: Client, { id }: { id: number }, status: string) =>
  api.post(`/promotions/${id}/status`, { status });

/** A promotion that has come to this status by the way there is. */
export async function promotionIn(api: Client, status: PromotionStatus): Promise<Promotion> {
  let promotion = await createPromotion(api);
  if (status !== 'draft') promotion = expectStatus(200, await setStatus(api, promotion, 'active'));
  if (status === 'ended') promotion = expectStatus(200, await setStatus(api, promotion, 'ended'));
  return promotion;
}

export async function getPromotion(api: Client, { id }: { id: number }): Promise<Promotion> {
  return expectStatus(200, await api.get<Promotion>(`/promotions/${id}`));
}

/** Every event of one promotion, in the order it was recorded. */
export async function eventsOf(service: TestService, { id }: { id: number }) {
  return (await service.events()).filter(({ subject }) => subject === String(id));
}

function expectStatus<Body>(status: number, answer: ClientResponse<Body>): Body {
  if (answer.status !== status) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

export const notFound = problem(404, 'not_found', 'Promotion not found');
