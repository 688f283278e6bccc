// The route of a history: `GET /promotions/{id}/history`, and the same for users.
import { z } from 'zod';
import type { Database } from '../database/database.ts';
import { invalidInput, notFound } from '../errors.ts';
import type { Scope } from '../http/caller/scopes.ts';
import { exampleRequestId } from '../http/openapi/problem-schema.ts';
import { costOfPage, createCursor, cursorRule, limit, pageSchema } from '../http/pagination.ts';
import { type Route, route } from '../http/routes.ts';
import { bodyId, presentedTime, presentTime } from '../http/schemas.ts';
import { type HistoryRow, historyStatement, readHistory } from './history-pages.ts';
import type { Change, History } from './history-table.ts';

interface HistoryRoute<Params> {
  /** The entity in names of schemas and in errors: `Promotion`. */
  title: string;
  /** It is not for end users: it tells who else has changed what is theirs. */
  scope: Scope;
  params: z.ZodType<Params>;
  /** The changes of an entity, newest first, for the document. */
  examples: readonly { version: number; at: string; changes: readonly Change[] }[];
}

export function historyRoute<Params extends { id: number }>(
  database: Database,
  history: History,
  { title, scope, params, examples }: HistoryRoute<Params>,
): Route {
  const statement = historyStatement(history);
  const cursor = createCursor({ list: `${history.table}-h1`, filters: {}, position: z.tuple([bodyId, bodyId]) });
  const items = examples.map(({ version, at, changes }) => ({ version, at, ...exampleCause, changes }));
  const page = historySchema(history, title, { items, next_cursor: null });
  return route({
    method: 'get',
    path: `/${history.table}/{id}/history`,
    access: { scope },
    operationId: `get${title}History`,
    summary: `Who changed a ${title.toLowerCase()}, when and why`,
    description: `${whatIsKept(history)} The newest change comes first; changes before the upgrade to release 0.2.0 are not there. Send \`next_cursor\` back as \`cursor\` to read on.`,
    params,
    query: z.strictObject({ limit, cursor: cursor.field.optional() }),
    success: { status: 200, description: 'A page of changes', schema: page },
    errors: {
      404: `there is no such ${title.toLowerCase()}`,
      422: 'a parameter is invalid, unknown or repeated, or the cursor is of another list',
    },
    mayBeLarge: (query) => costOfPage(query) !== undefined,
    handle: async ({ params: { id }, query }) => {
      const [entityId = id, before] = query.cursor?.position ?? [];
      if (entityId !== id) throw invalidInput([{ field: 'cursor', rule: cursorRule }]);
      const read = await readHistory(database, statement, { id, limit: query.limit, before });
      if (!read) throw notFound(`${title} not found`);
      return {
        status: 200,
        body: { items: read.items.map(presentChange), next_cursor: read.next && cursor.write(read.next, {}) },
      };
    },
  });
}

const exampleCause = { actor: null, request_id: exampleRequestId, reason: null };

function whatIsKept({ contract }: History): string {
  return contract
    ? 'Lists every change, with the fields that have other values than before.'
    : 'Lists every change, with the names of the fields that have other values than before. They are personal data, so no value is kept.';
}

function historySchema({ contract, fields }: History, title: string, example: object) {
  const value = z.string().nullable();
  const change = z
    .object({
      field: z.enum(fields).meta({ description: 'The name of the field.', override: { 'x-may-grow': true } }),
      ...(contract && {
        from: value.meta({ description: 'Its value before; null: none, as before the creation.' }),
        to: value.meta({ description: 'Its value afterwards; null: none.' }),
      }),
    })
    .meta({ id: `${title}FieldChange`, description: `A field of a ${title.toLowerCase()} that was changed.` });
  const item = z
    .object({
      version: z.int().min(1).max(2_147_483_647).meta({ description: 'The version that the change has made.' }),
      at: presentedTime.meta({ description: 'When, in UTC: the `updated_at` of this version.' }),
      actor: z.string().nullable().meta({
        description: 'Who asked: an API key, a subject or a user, by an id. Null: the caller is not known.',
        maxLength: 150,
      }),
      request_id: z.string().nullable().meta({ description: 'The `X-Request-Id` of the request.', maxLength: 128 }),
      reason: z.string().nullable().meta({ description: 'The `X-Reason` of the request.', maxLength: 200 }),
      changes: z.array(change).meta({ description: 'What was changed.' }),
    })
    .meta({ id: `${title}Change`, description: `A change of a ${title.toLowerCase()}.` });
  return pageSchema(item)
    .omit({ total: true })
    .meta({
      id: `${title}History`,
      description: `A page of the changes of a ${title.toLowerCase()}.`,
      examples: [example],
    });
}

function presentChange({ version, at, actor, request_id, reason, changes }: HistoryRow) {
  return { version, at: presentTime(at), actor, request_id, reason, changes: changes.map(inOrder) };
}

/** The database returns the members of an object in another order. */
function inOrder({ field, from, to }: Change): Change {
  return from === undefined || to === undefined ? { field } : { field, from, to };
}
