// An OpenID provider in this process, whose keys and outages a test decides.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';

export interface SigningKey {
  kid: string;
  alg: string;
  privateKey: CryptoKey;
  /** As the provider publishes it. */
  jwk: JWK;
}

export async function createSigningKey(alg = 'ES256'): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  return { kid, alg, privateKey, jwk: { ...jwk, kid, alg, use: 'sig' } };
}

/** What a test changes of an acceptable token. A claim that is undefined is left out. */
interface TokenOptions {
  header?: Record<string, unknown>;
  claims?: Record<string, unknown>;
  key?: SigningKey;
}

export const audience = 'https://api.example.com';

export class TokenIssuer {
  readonly url: string;
  /** What is published. The first one signs. */
  keys: SigningKey[];
  /** `away`: every connection is reset. `failing`: 500. */
  state: 'up' | 'away' | 'failing' = 'up';
  /** Number of requests for the keys. */
  fetches = 0;
  readonly #server: Server;

  constructor(server: Server, keys: SigningKey[]) {
    this.#server = server;
    this.keys = keys;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  token({ header = {}, claims = {}, key = this.keys[0] as SigningKey }: TokenOptions = {}): Promise<string> {
    const now = Math.floor(Date.now() / 1_000);
    const all = {
      ...{ iss: this.url, aud: audience, sub: 'ada', iat: now, exp: now + 300, client_id: 'shop', jti: String(now) },
      scope: 'users:read users:write openid',
      ...claims,
    };
    return new SignJWT(all)
      .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: 'at+jwt', ...header })
      .sign(key.privateKey);
  }

  answer(path: string | undefined): { status: number; body: object } {
    if (this.state === 'failing') return { status: 500, body: {} };
    if (path === '/.well-known/openid-configuration') {
      return { status: 200, body: { issuer: this.url, jwks_uri: `${this.url}/keys` } };
    }
    this.fetches += 1;
    return { status: 200, body: { keys: this.keys.map(({ jwk }) => jwk) } };
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export async function startTokenIssuer(alg?: string): Promise<TokenIssuer> {
  let issuer: TokenIssuer | undefined;
  const server = createServer((request, response) => {
    if (!issuer || issuer.state === 'away') {
      request.socket.resetAndDestroy();
      return;
    }
    const { status, body } = issuer.answer(request.url);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  issuer = new TokenIssuer(server, [await createSigningKey(alg)]);
  return issuer;
}

/** A token without a signature, or signed otherwise than by the provider. */
export function forgedToken(header: object, claims: object, signature = ''): string {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${encode(header)}.${encode(claims)}.${signature}`;
}
