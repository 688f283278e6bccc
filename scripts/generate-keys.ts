// `npm run keys:generate`: prints a new pair of keys for personal data, as environment variables.
import { generateFernetKey } from '../services/users/src/personal-data/fernet.ts';

process.stdout.write(`PII_ENCRYPTION_KEYS=${generateFernetKey()}\nPII_INDEX_KEY=${generateFernetKey()}\n`);
