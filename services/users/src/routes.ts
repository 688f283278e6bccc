// The wire of users: what is accepted, which use case answers, how it is shown.
import { type Route, route } from '@promopulse/shared/http/routes';
import { filledText, isStorable, required, textId, textInteger } from '@promopulse/shared/http/schemas';
import { z } from 'zod';
import type { User } from './entities.ts';
import { checkEmail } from './personal-data/email.ts';
import type { PersonalData } from './personal-data/personal-data.ts';
import type { createUsers } from './users.ts';

const email = z
  .string({ error: required('must be a string', 'must be given once') })
  .refine(isStorable, { error: 'must be well-formed Unicode without NUL characters', abort: true })
  .transform((value, context) => {
    const checked = checkEmail(value);
    if ('email' in checked) return checked.email;
    context.addIssue({ code: 'custom', message: checked.rule });
    return z.NEVER;
  })
  .meta({ override: { type: 'string', format: 'email', maxLength: 254 }, example: 'Ada@example.com' });

/** E.164: a plus and 7 to 15 digits. */
const phone = z
  .string({ error: required('must be a string or null') })
  .regex(/^\+[1-9]\d{6,14}$/, 'must be an international number such as +14155550123')
  .nullable();

const newUser = z.strictObject({
  first_name: filledText(255),
  last_name: filledText(255),
  email,
  phone: phone.optional(),
});

const presentedUser = z
  .object({
    id: z.int(),
    full_name: z.string(),
    email: z.string(),
    phone: z.string().optional().meta({ description: 'Only when there is one.' }),
  })
  .meta({ id: 'User' });

const userId = z.strictObject({ id: textId });

export function userRoutes(users: ReturnType<typeof createUsers>, personalData: PersonalData): Route[] {
  const present = (user: User): z.infer<typeof presentedUser> => ({
    id: user.id,
    full_name: `${user.first_name} ${user.last_name}`,
    email: personalData.decrypt(user.email_encrypted),
    ...(user.phone_encrypted && { phone: personalData.decrypt(user.phone_encrypted) }),
  });

  return [
    route({
      method: 'post',
      path: '/users',
      operationId: 'createUser',
      summary: 'Create a user',
      description: 'Email and phone are encrypted before they are stored.',
      body: newUser,
      example: { first_name: 'Ada', last_name: 'Lovelace', email: 'Ada@example.com' },
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
        const user = await users.createUser(body, requestId);
        return { status: 201, body: present(user), headers: { Location: `/users/${user.id}` } };
      },
    }),
    route({
      method: 'get',
      path: '/users',
      operationId: 'findUsers',
      summary: 'Find the user with an email',
      description: 'Letter case makes no difference. In a URL, write `+` as `%2B`.',
      query: z.strictObject({ email }),
      success: {
        status: 200,
        description: 'The user with this email, or none',
        schema: z.object({ items: z.array(presentedUser), total: z.int() }).meta({ id: 'UserList' }),
      },
      errors: { 422: 'the email is missing or breaks its rule' },
      handle: async ({ query }) => {
        const found = await users.findUsersByEmail(query.email);
        return { status: 200, body: { items: found.map(present), total: found.length } };
      },
    }),
    route({
      method: 'get',
      path: '/users/{id}',
      operationId: 'getUser',
      summary: 'Get a user',
      params: userId,
      success: { status: 200, description: 'The user', schema: presentedUser },
      errors: { 404: 'there is no such user', 422: 'the id is not one' },
      handle: async ({ params }) => ({ status: 200, body: present(await users.getUser(params.id)) }),
    }),
    route({
      method: 'patch',
      path: '/users/{id}',
      operationId: 'updateUser',
      summary: "Change a user's names, email or phone",
      description: 'Only the fields given are changed; `"phone": null` removes the phone.',
      params: userId,
      body: newUser.partial(),
      example: { last_name: 'King' },
      success: { status: 200, description: 'The user', schema: presentedUser },
      errors: {
        404: 'there is no such user',
        409: 'another user has this email, whatever its letter case',
        415: 'the body is not JSON',
        422: 'a field is unknown or breaks its rule',
      },
      handle: async ({ params, body }) => ({ status: 200, body: present(await users.updateUser(params.id, body)) }),
    }),
  ];
}

/** For neighbours only: that a user exists, and in which version. */
export function internalUserRoutes(users: ReturnType<typeof createUsers>): Route[] {
  const state = z.object({ id: z.int(), version: z.int() });
  const present = ({ id, version }: User): z.infer<typeof state> => ({ id, version });
  return [
    route({
      method: 'get',
      path: '/internal/users/{id}',
      operationId: 'getUserState',
      summary: 'Whether a user exists',
      params: userId,
      success: { status: 200, description: 'Id and version', schema: state },
      errors: { 404: 'there is no such user' },
      handle: async ({ params }) => ({ status: 200, body: present(await users.getUser(params.id)) }),
    }),
    route({
      method: 'get',
      path: '/internal/users',
      operationId: 'listUserStates',
      summary: 'Every user by ascending id',
      query: z.strictObject({ after_id: textInteger(0, 2_147_483_647), limit: textInteger(1, 1000) }),
      success: { status: 200, description: 'A page', schema: z.object({ items: z.array(state) }) },
      errors: {},
      handle: async ({ query }) => {
        const page = await users.listUserIds(query.after_id, query.limit);
        return { status: 200, body: { items: page.map(present) } };
      },
    }),
  ];
}
