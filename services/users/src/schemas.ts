// The shapes of requests and responses about users.
import { bodyId, count, filledText, required, textId } from '@promopulse/shared/http/schemas';
import { isStorable } from '@promopulse/shared/values/plain-text';
import { z } from 'zod';
import { checkEmail } from './personal-data/email.ts';
import type { PersonalData } from './personal-data/personal-data.ts';

const email = z
  .string({ error: required('must be a string') })
  .refine(isStorable, { error: 'must be well-formed Unicode without NUL characters', abort: true })
  .transform((value, context) => {
    const checked = checkEmail(value);
    if ('email' in checked) return checked.email;
    context.addIssue({ code: 'custom', message: checked.rule });
    return z.NEVER;
  })
  .meta({
    // Letters beyond ASCII are accepted, as in RFC 6531.
    override: { type: 'string', format: 'idn-email', minLength: 5, maxLength: 254 },
    description: 'Letter case makes no difference between two addresses; it is kept before the @.',
  });

/** E.164: a plus and 7 to 15 digits. */
const phonePattern = /^\+[1-9]\d{6,14}$/;

const phone = z
  .string({ error: required('must be a string or null') })
  .regex(phonePattern, 'must be an international number such as +14155550123')
  .nullable()
  .meta({ description: 'An international number (E.164): a plus and 7 to 15 digits. Null: none.' });

const userFields = z.strictObject({
  first_name: filledText(255).meta({ description: 'The first name.' }),
  last_name: filledText(255).meta({ description: 'The last name.' }),
  email,
  phone: phone.optional(),
});

export const newUser = userFields.meta({ id: 'CreateUser', description: 'A new user.' });
export const newUserExample = { first_name: 'Ada', last_name: 'Lovelace', email: 'ada@example.com' };

export const userChanges = userFields
  .partial()
  .meta({ id: 'UpdateUser', description: 'The fields to change; a field that is absent stays.' });

export const userId = z.strictObject({
  id: textId.meta({ description: 'The id of the user.', param: { example: 1 } }),
});

export const userFilter = z.strictObject({
  email: email.meta({ description: 'The email to look for.', param: { example: newUserExample.email } }),
});

const userExample = {
  id: 1,
  full_name: 'Ada Lovelace',
  first_name: 'Ada',
  last_name: 'Lovelace',
  email: 'ada@example.com',
};

export const presentedUser = z
  .object({
    id: bodyId.meta({ description: 'Given at the creation, and to no other user afterwards.' }),
    full_name: z.string().meta({
      description: 'The first and the last name with a space between them.',
      override: { minLength: 3, maxLength: 511 },
    }),
    first_name: z.string().meta({
      description: 'The first name.',
      override: { minLength: 1, maxLength: 255 },
    }),
    last_name: z.string().meta({
      description: 'The last name.',
      override: { minLength: 1, maxLength: 255 },
    }),
    email: z.string().meta({
      description: 'The address, with its domain in lower case.',
      override: { format: 'idn-email', maxLength: 254 },
    }),
    phone: z
      .string()
      .optional()
      .meta({
        description: 'The phone number. Absent when there is none.',
        override: { pattern: phonePattern.source, maxLength: 16 },
      }),
  })
  .meta({ id: 'User', description: 'A user.', examples: [userExample] });

export const updatedUserExample = { ...userExample, full_name: 'Ada King', last_name: 'King' };

/** What the examples of the document leave, when they are sent in its order. */
export const userHistoryExamples = [
  { version: 2, at: '2026-05-21T16:00:00.5Z', changes: [{ field: 'last_name' }] },
  {
    version: 1,
    at: '2026-05-20T09:30:00.125Z',
    changes: [{ field: 'first_name' }, { field: 'last_name' }, { field: 'email' }],
  },
];

export const presentedUserList = z
  .object({
    items: z.array(presentedUser).max(1).meta({ description: 'The user, or nothing.' }),
    total: count.meta({ description: 'Number of users found: 0 or 1.' }),
  })
  .meta({ id: 'UserList', description: 'The users found.', examples: [{ items: [userExample], total: 1 }] });

/** The columns that callers see; names are unencrypted, email and phone are encrypted. */
export interface EncryptedUser {
  id: number;
  first_name: string;
  last_name: string;
  email_encrypted: string;
  phone_encrypted?: string | null | undefined;
}

/** @param email when it is decrypted already */
export function presentUser(
  personalData: PersonalData,
  user: EncryptedUser,
  email: string = personalData.decrypt(user.email_encrypted),
): z.infer<typeof presentedUser> {
  const { id, first_name, last_name } = user;
  return {
    id,
    full_name: `${first_name} ${last_name}`,
    first_name,
    last_name,
    email,
    ...(user.phone_encrypted && { phone: personalData.decrypt(user.phone_encrypted) }),
  };
}
