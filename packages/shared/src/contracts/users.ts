// What events say of a user: never personal data.
import { z } from 'zod';
import { id, version } from './envelope.ts';

export const userState = z.object({ id, version });
