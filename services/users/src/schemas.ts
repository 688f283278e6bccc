// The shapes of requests and responses about users.
import { filledText, isStorable, required, textId } from '@promopulse/shared/http/schemas';
import { z } from 'zod';
import { checkEmail } from './personal-data/email.ts';
import type { PersonalData } from './personal-data/personal-data.ts';

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

export const newUser = z.strictObject({
  first_name: filledText(255),
  last_name: filledText(255),
  email,
  phone: phone.optional(),
});
export const newUserExample = { first_name: 'Ada', last_name: 'Lovelace', email: 'Ada@example.com' };

export const userChanges = newUser.partial();

export const userId = z.strictObject({ id: textId });

export const userFilter = z.strictObject({ email });

export const presentedUser = z
  .object({
    id: z.int(),
    full_name: z.string(),
    email: z.string(),
    phone: z.string().optional().meta({ description: 'Only when there is one.' }),
  })
  .meta({ id: 'User' });

export const presentedUserList = z.object({ items: z.array(presentedUser), total: z.int() }).meta({ id: 'UserList' });

/** The columns that callers see; names are unencrypted, email and phone are encrypted. */
export interface EncryptedUser {
  id: number;
  first_name: string;
  last_name: string;
  email_encrypted: string;
  phone_encrypted?: string | null | undefined;
}

export function presentUser(personalData: PersonalData, user: EncryptedUser): z.infer<typeof presentedUser> {
  return {
    id: user.id,
    full_name: `${user.first_name} ${user.last_name}`,
    email: personalData.decrypt(user.email_encrypted),
    ...(user.phone_encrypted && { phone: personalData.decrypt(user.phone_encrypted) }),
  };
}
