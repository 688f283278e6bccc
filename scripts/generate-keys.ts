// Prints a fresh pair of keys for the environment: `npm run keys:generate`.
import { generateFernetKey } from '../services/users/src/personal-data/fernet.ts';

process.stdout.write(`PII_ENCRYPTION_KEYS=${generateFernetKey()}\nPII_INDEX_KEY=${generateFernetKey()}\n`);
