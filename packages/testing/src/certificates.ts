// Certificates for tests of TLS: a certificate authority of the test's own, and what it signs.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import forge from 'node-forge';

export interface Certificate {
  /** The certificate, as PEM. */
  cert: string;
  /** Its private key, as PEM. */
  key: string;
}

interface Subject {
  /** The common name. */
  name: string;
  /** Host names and IP addresses of the certificate. */
  hosts?: readonly string[];
  /** Default: in one day. A time in the past makes an expired certificate. */
  notAfter?: Date;
}

export interface CertificateAuthority {
  /** The authority's own certificate, as PEM. */
  cert: string;
  /** Signs a certificate for a server or a client. */
  issue(subject: Subject): Certificate;
}

const dayMs = 86_400_000;

export function createCertificateAuthority(name = 'PromoPulse test CA'): CertificateAuthority {
  const { privateKey, publicKey } = createKeys();
  const self = [{ name: 'commonName', value: name }];
  const sign = (content: Content): string => {
    const certificate = fill(content);
    certificate.setIssuer(self);
    certificate.sign(privateKey, forge.md.sha256.create());
    return forge.pki.certificateToPem(certificate);
  };
  const cert = sign({
    publicKey,
    subject: self,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  return {
    cert,
    issue: ({ name: commonName, hosts = [], notAfter }) => {
      const { publicKey, key } = createKeys();
      const subject = [{ name: 'commonName', value: commonName }];
      return { cert: sign({ publicKey, subject, extensions: leafExtensions(hosts), notAfter }), key };
    },
  };
}

function leafExtensions(hosts: readonly string[]): object[] {
  const altNames = hosts.map((host) => (isIP(host) ? { type: 7, ip: host } : { type: 2, value: host }));
  return [
    { name: 'basicConstraints', cA: false },
    { name: 'keyUsage', digitalSignature: true, keyEncipherment: true },
    { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
    ...(altNames.length > 0 ? [{ name: 'subjectAltName', altNames }] : []),
  ];
}

/** By Node, because node-forge takes seconds for a key. */
function createKeys() {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2_048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  const key = forge.pki.privateKeyFromPem(privateKey);
  return { privateKey: key, publicKey: forge.pki.setRsaPublicKey(key.n, key.e), key: privateKey };
}

interface Content {
  publicKey: forge.pki.rsa.PublicKey;
  subject: forge.pki.CertificateField[];
  extensions: object[];
  notAfter?: Date | undefined;
}

function fill({ publicKey, subject, extensions, notAfter }: Content): forge.pki.Certificate {
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = publicKey;
  certificate.serialNumber = `01${randomBytes(8).toString('hex')}`;
  certificate.validity.notAfter = notAfter ?? new Date(Date.now() + dayMs);
  certificate.validity.notBefore = new Date(certificate.validity.notAfter.getTime() - 2 * dayMs);
  certificate.setSubject(subject);
  certificate.setExtensions(extensions);
  return certificate;
}
