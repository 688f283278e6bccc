// The routes of users.
import { userState } from '@promopulse/shared/contracts/users';
import type { Database } from '@promopulse/shared/database/database';
import { type Route, route } from '@promopulse/shared/http/routes';
import { ownerRoutes } from '@promopulse/shared/outbox/owner-routes';
import { presentRow } from '@promopulse/shared/outbox/payload';
import type { PersonalData } from './personal-data/personal-data.ts';
import {
  newUser,
  newUserExample,
  presentedUser,
  presentedUserList,
  presentUser,
  userChanges,
  userFilter,
  userId,
} from './schemas.ts';
import { createUser, findUserByEmail, getUser, updateUser } from './users.ts';

export function userRoutes(database: Database, personalData: PersonalData): Route[] {
  return [
    route({
      method: 'post',
      path: '/users',
      operationId: 'createUser',
      summary: 'Create a user',
      description: 'Email and phone are encrypted before they are stored.',
      body: newUser,
      example: newUserExample,
      success: {
        status: 201,
        description: 'The user',
        schema: presentedUser,
        headers: { Location: 'Path of the user' },
      },
      errors: {
        409: 'another user has this email, whatever its letter case',
        415: 'the body is not JSON',
        422: 'a field is missing, unknown or breaks its rule',
      },
      handle: async ({ body, requestId }) => {
        const user = await createUser(database, personalData, body, requestId);
        return { status: 201, body: presentUser(personalData, user), headers: { Location: `/users/${user.id}` } };
      },
    }),
    route({
      method: 'get',
      path: '/users',
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
        const user = await findUserByEmail(database, personalData, query.email);
        const items = user ? [presentUser(personalData, user)] : [];
        return { status: 200, body: { items, total: items.length } };
      },
    }),
    route({
      method: 'get',
      path: '/users/{id}',
      operationId: 'getUser',
      summary: 'Get a user',
      params: userId,
      success: { status: 200, description: 'The user', schema: presentedUser },
      errors: { 404: 'there is no such user', 422: 'the id is invalid' },
      handle: async ({ params }) => ({
        status: 200,
        body: presentUser(personalData, await getUser(database, params.id)),
      }),
    }),
    route({
      method: 'patch',
      path: '/users/{id}',
      operationId: 'updateUser',
      summary: "Change a user's names, email or phone",
      description: 'Only the fields given are changed; `"phone": null` removes the phone.',
      params: userId,
      body: userChanges,
      example: { last_name: 'King' },
      success: { status: 200, description: 'The user', schema: presentedUser },
      errors: {
        404: 'there is no such user',
        409: 'another user has this email, whatever its letter case',
        415: 'the body is not JSON',
        422: 'a field is unknown or breaks its rule',
      },
      handle: async ({ params, body }) => ({
        status: 200,
        body: presentUser(personalData, await updateUser(database, personalData, params.id, body)),
      }),
    }),
  ];
}

/** For other services only: which users exist, and their versions. */
export function internalUserRoutes(database: Database): Route[] {
  return [
    ...ownerRoutes(database, { owner: 'users', table: 'users', columns: ['id', 'version'], maxLimit: 10_000 }),
    route({
      method: 'get',
      path: '/internal/users/{id}',
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
