// `npm run keys:generate`: prints new keys, as environment variables: two for personal data, one by which the gateway
// signs who calls (http/caller/actor-token.ts), and one for the ids of the subjects of tokens. It is here because the image of users contains it:
// docker run --rm promopulse/users node src/personal-data/generate-keys.ts
import { generateFernetKey } from './fernet.ts';

for (const name of ['PII_ENCRYPTION_KEYS', 'PII_INDEX_KEY', 'ACTOR_KEYS', 'OIDC_SUBJECT_KEY']) {
  process.stdout.write(`${name}=${generateFernetKey()}\n`);
}
