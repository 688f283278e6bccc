// The public state of a user, as events carry it: never personal data.
import { z } from 'zod';
import { id, version } from './envelope.ts';

export const userState = z.object({ id, version });
