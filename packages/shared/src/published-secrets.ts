// Secrets that everybody can read: those of docker-compose.yml, of the documents and tests of this repository, and the
// defaults of the servers. `loadConfig` refuses them with ENVIRONMENT=production. test/production.test.ts searches the
// repository for secrets that are missing here.

/** 32 bytes in base64url: the pair of docker-compose.yml, the one of docker-compose.auth.yml, the key of Fernet's specification, the keys of the tests. */
const publishedKeys = new Set(
  [
    'r38NBF-tz3N6b2QXMx2u34O__spBE6ptuoFbr7WKw9Y=',
    'GTnuqotH2T_dOsl2FLNM1NkDHqlnHaivPwmCZwqy44M=',
    'X0Lj8Jy58mMff1RHdIaEUKle9cGNflAA9Z0iJnl6baE=',
    'cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=',
    'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=',
    'Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=',
  ].map(canonicalKey),
);

/** Of 32 random bytes, fewer than 16 different values are as good as impossible. */
const minDistinctBytes = 16;

/** In lower case, and without digits and signs at the end, which make no password a secret. */
const publishedPasswords = new Set(
  (
    '|admin|administrator|change-me|change_me|changeit|changeme|default|demo|dev|development|development-only|' +
    'example|guest|letmein|mysecretpassword|pass|passwd|password|postgres|postgresql|promopulse|qwerty|rabbit|rabbitmq|' +
    'root|secret|test|testing|user|your-password|yourpassword|a password'
  ).split('|'),
);
/** A longer number may be random. */
const maxGuessableDigits = 10;

/** Whether ENVIRONMENT names production: `production` or `prod`, whatever the letter case. */
export function isProduction(environment: string | undefined): boolean {
  return /^prod(uction)?$/i.test(environment ?? '');
}

/** @returns what makes the value of a variable no secret, completing "NAME …"; undefined when nothing does */
export function publishedSecretIn(name: string, value: string): string | undefined {
  if (value.split(',').some((item) => isPublishedKey(item.trim()))) {
    return 'has a published key; make your own with npm run keys:generate';
  }
  if (name.endsWith('PASSWORD') && isPublishedPassword(value, ''))
    return 'is a published or default password; set another';
  const url = parseUrl(value);
  if (url?.password && isPublishedPassword(decoded(url.password), decoded(url.username))) {
    return 'has a published or default password; set another, in the server first';
  }
  return undefined;
}

/**
 * Whether the value is the URL of a PostgreSQL or RabbitMQ that is to be reached without any secret. A client of RabbitMQ
 * that is given no user logs in as guest. For PostgreSQL a client certificate is a secret, and over a socket it asks the
 * operating system for the user.
 */
export function lacksPassword(value: string): boolean {
  const url = parseUrl(value);
  if (!url || url.password) return false;
  if (/^amqps?:$/.test(url.protocol)) return true;
  if (!/^postgres(ql)?:$/.test(url.protocol)) return false;
  const host = url.searchParams.get('host') ?? decoded(url.hostname);
  return !url.searchParams.has('sslcert') && !host.startsWith('/');
}

/** The URL of a socket may have no host, which `URL` does not accept behind a user. */
function parseUrl(value: string): URL | null {
  return URL.parse(value) ?? URL.parse(value.replace(/^(\w+:\/\/(?:[^/?#]*@)?)(?=[/?])/, '$1localhost'));
}

function isPublishedKey(text: string): boolean {
  if (!/^[A-Za-z0-9_-]{43}=?$/.test(text)) return false;
  return publishedKeys.has(canonicalKey(text)) || new Set(Buffer.from(text, 'base64url')).size < minDistinctBytes;
}

/** Several texts can stand for the same bytes. */
function canonicalKey(text: string): string {
  return Buffer.from(text, 'base64url').toString('base64url');
}

function isPublishedPassword(password: string, user: string): boolean {
  const lower = password.toLowerCase();
  const word = lower.replace(/[\d\W_]+$/, '');
  if (word === '') return lower.length <= maxGuessableDigits;
  return publishedPasswords.has(word) || lower === user.toLowerCase();
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
