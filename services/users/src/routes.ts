// The routes of users.
import { userState } from '@promopulse/shared/contracts/users';
import type { Database } from '@promopulse/shared/database/database';
import { createCommitOnce } from '@promopulse/shared/database/idempotency/commit-once';
import { idempotentAnswerLost } from '@promopulse/shared/errors';
import { historyRoute } from '@promopulse/shared/history/history-routes';
import { describedVersion, versionHeaders } from '@promopulse/shared/http/preconditions';
import { type Route, route } from '@promopulse/shared/http/routes';
import { ownerRoutes } from '@promopulse/shared/outbox/owner-routes';
import { presentRow } from '@promopulse/shared/outbox/payload';
import { userHistory } from './entities.ts';
import type { PersonalData } from './personal-data/personal-data.ts';
import {
  newUser,
  newUserExample,
  presentedUser,
  presentedUserList,
  presentUser,
  updatedUserExample,
  userChanges,
  userFilter,
  userHistoryExamples,
  userId,
} from './schemas.ts';
import { createUser, emailTaken, findUserByEmail, getUser, updateUser } from './users.ts';

export function userRoutes(database: Database, personalData: PersonalData): Route[] {
  const commitOnce = createCommitOnce(database, personalData.answers);
  return [
    route({
      method: 'post',
      path: '/users',
      access: { scope: 'users:write' },
      operationId: 'createUser',
      takesReason: true,
      summary: 'Create a user',
      description: 'Email and phone are encrypted before they are stored.',
      body: newUser,
      example: newUserExample,
      success: {
        status: 201,
        description: 'The user',
        schema: presentedUser,
        headers: {
          Location: { description: 'Path of the user', example: '/users/1' },
          ...describedVersion(1, '/users/1'),
        },
      },
      errors: {
        409: 'another user has this email, whatever its letter case',
        415: 'the body is not JSON',
        422: 'a field is missing, unknown or breaks its rule',
      },
      problems: [emailTaken(), idempotentAnswerLost('/users/1')],
      handle: ({ body, cause }) =>
        commitOnce(cause, async (transaction) => {
          const user = await createUser(transaction, personalData, body, cause);
          const path = `/users/${user.id}`;
          return {
            status: 201,
            body: presentUser(personalData, user),
            headers: { Location: path, ...versionHeaders(user.version, path) },
          };
        }),
    }),
    route({
      method: 'get',
      path: '/users',
      access: { scope: 'users:read' },
      operationId: 'findUsers',
      summary: 'Find the user with an email',
      description: 'Letter case makes no difference. In a URL, write `+` as `%2B`.',
      query: userFilter,
      success: {
        status: 200,
        description: 'The user with this email, or none',
        schema: presentedUserList,
      },
      errors: { 422: 'the email is missing or breaks its rule' },
      handle: async ({ query }) => {
        const found = await findUserByEmail(database, personalData, query.email);
        const items = found ? [presentUser(personalData, found.user, found.email)] : [];
        return { status: 200, body: { items, total: items.length } };
      },
    }),
    route({
      method: 'get',
      path: '/users/{id}',
      access: { scope: 'users:read', endUser: 'params.id' },
      operationId: 'getUser',
      summary: 'Get a user',
      params: userId,
      description: 'Reads the user with this id, with the email and the phone decrypted.',
      success: { status: 200, description: 'The user', schema: presentedUser, headers: describedVersion(1) },
      errors: { 404: 'there is no such user', 422: 'the id is invalid' },
      handle: async ({ params }) => {
        const user = await getUser(database, params.id);
        return { status: 200, body: presentUser(personalData, user), headers: versionHeaders(user.version) };
      },
    }),
    route({
      method: 'patch',
      path: '/users/{id}',
      access: { scope: 'users:write', endUser: 'params.id' },
      operationId: 'updateUser',
      takesReason: true,
      summary: "Change a user's names, email or phone",
      description: 'Only the fields given are changed; `"phone": null` removes the phone.',
      params: userId,
      body: userChanges,
      example: { last_name: 'King' },
      success: {
        status: 200,
        description: 'The user',
        schema: presentedUser,
        headers: describedVersion(2, '/users/1'),
        example: updatedUserExample,
      },
      errors: {
        404: 'there is no such user',
        409: 'another user has this email, whatever its letter case',
        415: 'the body is not JSON',
        422: 'a field is unknown or breaks its rule',
      },
      problems: [emailTaken(), idempotentAnswerLost()],
      currentVersion: async ({ id }) => (await getUser(database, id)).version,
      handle: ({ params: { id }, body, cause, conditions }) =>
        commitOnce(cause, async (transaction) => {
          const user = await updateUser(transaction, personalData, { id, conditions, cause }, body);
          return {
            status: 200,
            body: presentUser(personalData, user),
            headers: versionHeaders(user.version, `/users/${id}`),
          };
        }),
    }),
    historyRoute(database, userHistory, {
      title: 'User',
      scope: 'users:read',
      params: userId,
      examples: userHistoryExamples,
    }),
  ];
}

/** For other services only: which users exist, and their versions. */
export function internalUserRoutes(database: Database): Route[] {
  return [
    ...ownerRoutes(database, { owner: 'users', table: 'users', contract: userState, maxLimit: 10_000 }),
    route({
      method: 'get',
      path: '/internal/users/{id}',
      access: 'internal',
      operationId: 'getUserState',
      summary: 'Whether a user exists',
      params: userId,
      success: { status: 200, description: 'Id and version', schema: userState },
      errors: { 404: 'there is no such user' },
      handle: async ({ params }) => ({
        status: 200,
        body: presentRow(userState, await getUser(database, params.id)),
      }),
    }),
  ];
}
