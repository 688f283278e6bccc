// The interactive page at /docs: swagger-ui from its package, with a page, styles and an initializer of our own
// (docs-page/). The content security policy allows the browser to load from the gateway only.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { allowGetOnly } from '@promopulse/shared/http/app';
import { RecentMap } from '@promopulse/shared/values/recent-map';
import { Router } from 'express';
import { staticBody } from '../edge/static-bodies.ts';
import { maxPrefixes } from './openapi.ts';

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'", // swagger-ui sets style attributes
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const hashLength = 12;

interface Asset {
  /** Of its content, in its URL: so a browser may keep it for a year, and gets another one after a change. */
  hash: string;
  type: string;
  content: Buffer;
}

/** @returns the path as the client must write it: behind a proxy it may have a prefix */
type Locate = (request: IncomingMessage, path: string) => string;

export function createDocsRoutes(locate: Locate = (_request, path) => path): Router {
  const assets = readAssets();
  const router = Router({ caseSensitive: true });
  const pages = new RecentMap<string, Buffer>(maxPrefixes);
  router.get('/docs', (request, response) => {
    const root = locate(request, '/');
    const page = pages.getOrInsertComputed(root, () => staticBody(createPage(assets, (path) => locate(request, path))));
    response.setHeader('Content-Security-Policy', policy);
    response.type('html').send(page);
  });
  // For each method: of a route for GET alone, Express answers OPTIONS, also where there is no file.
  router.all('/docs/:name', (request, response, next) => {
    const [, base, hash, extension] = assetName.exec(request.params.name) ?? [];
    const asset = assets.get(`${base}.${extension}`);
    if (!asset) {
      next();
      return;
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') allowGetOnly();
    // Another hash is that of the page of another release: while replicas are replaced, both are there.
    if (hash === asset.hash) response.setHeader('Cache-Control', 'public, max-age=31536000, immutable');
    response.type(asset.type).send(asset.content);
  });
  router.all('/docs', allowGetOnly);
  return router;
}

const assetName = new RegExp(`^(.+)\\.([0-9a-f]{${hashLength}})\\.(\\w+)$`);

/** @returns by file name */
function readAssets(): Map<string, Asset> {
  const require = createRequire(import.meta.url);
  const folder = dirname(require.resolve('swagger-ui-dist/package.json'));
  const ownFolder = join(import.meta.dirname, 'docs-page');
  const read = (path: string, type: string): [string, Asset] => {
    const content = staticBody(readFileSync(path));
    const hash = createHash('sha256').update(content).digest('hex').slice(0, hashLength);
    return [basename(path), { hash, type, content }];
  };
  return new Map([
    read(join(folder, 'swagger-ui.css'), 'text/css'),
    read(join(folder, 'swagger-ui-bundle.js'), 'text/javascript'),
    read(join(folder, 'favicon-32x32.png'), 'image/png'),
    read(join(ownFolder, 'page.css'), 'text/css'),
    read(join(ownFolder, 'initializer.js'), 'text/javascript'),
  ]);
}

// Relative paths would resolve to /, because /docs has no trailing slash.
function createPage(assets: ReadonlyMap<string, Asset>, locate: (path: string) => string): string {
  const urlOf = (name: string): string => {
    const { hash } = assets.get(name) as Asset;
    return locate(`/docs/${name.replace(/(\.\w+)$/, `.${hash}$1`)}`);
  };
  return `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>PromoPulse API</title>
  <link rel="stylesheet" href="${urlOf('swagger-ui.css')}">
  <link rel="stylesheet" href="${urlOf('page.css')}">
  <link rel="icon" type="image/png" href="${urlOf('favicon-32x32.png')}">
</head>
<body>
  <div id="swagger-ui" data-prefix="${locate('/').slice(0, -1)}"></div>
  <script src="${urlOf('swagger-ui-bundle.js')}"></script>
  <script src="${urlOf('initializer.js')}"></script>
</body>
</html>
`;
}
