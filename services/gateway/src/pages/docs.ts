// The interactive page at /docs: swagger-ui from its package, with our own page and initializer. The content security
// policy allows the browser to load from the gateway only.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { allowGetOnly } from '@promopulse/shared/http/app';
import { Router } from 'express';

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

// Relative paths would resolve to /, because /docs has no trailing slash.
const page = `<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>PromoPulse API</title>
  <link rel="stylesheet" href="/docs/swagger-ui.css">
  <link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="/docs/swagger-ui-bundle.js"></script>
  <script src="/docs/initializer.js"></script>
</body>
</html>
`;

const initializer = `window.ui = SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
`;

export function createDocsRoutes(): Router {
  const require = createRequire(import.meta.url);
  const folder = dirname(require.resolve('swagger-ui-dist/package.json'));
  const readAsset = (name: string) => readFileSync(join(folder, name));
  const assets = new Map<string, { type: string; content: Buffer }>([
    ['swagger-ui.css', { type: 'text/css', content: readAsset('swagger-ui.css') }],
    ['swagger-ui-bundle.js', { type: 'text/javascript', content: readAsset('swagger-ui-bundle.js') }],
    ['favicon-32x32.png', { type: 'image/png', content: readAsset('favicon-32x32.png') }],
    ['initializer.js', { type: 'text/javascript', content: Buffer.from(initializer) }],
  ]);
  const router = Router({ caseSensitive: true });
  router.get('/docs', (_request, response) => {
    response.setHeader('Content-Security-Policy', policy);
    response.type('html').send(page);
  });
  router.get('/docs/:name', (request, response, next) => {
    const asset = assets.get(request.params.name);
    if (!asset) {
      next();
      return;
    }
    response.setHeader('Cache-Control', 'public, max-age=3600');
    response.type(asset.type).send(asset.content);
  });
  router.all('/docs', allowGetOnly);
  return router;
}
