// The public state of a user, as events carry it: never personal data.
import { z } from 'zod';
import { id, version } from './envelope.ts';

export const userState = z.object({ id, version });

/** The fields of a user that callers can change. */
const userFields = ['first_name', 'last_name', 'email', 'phone'] as const;

export type UserField = (typeof userFields)[number];

/** `changed` has the names of the fields that have other values than before, and never a value. */
export const userUpdate = userState.extend({ changed: z.array(z.enum(userFields)).min(1) });
