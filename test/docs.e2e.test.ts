// /docs in a real browser that reaches only this gateway.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Browser, chromium, type Page } from 'playwright-core';
import { findChromium } from './support/chromium.ts';
import { type RunningStack, startFreshStack } from './support/stack.ts';

let stack: RunningStack;
let browser: Browser;
let page: Page;
const foreignRequests: string[] = [];
const pageErrors: string[] = [];

beforeAll(async () => {
  const executablePath = await findChromium();
  stack = await startFreshStack('memory');
  browser = await chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'],
  });
  page = await browser.newPage({ viewport: { width: 1280, height: 1600 } });
  page.on('request', (request) => {
    if (!request.url().startsWith(stack.url) && !request.url().startsWith('data:')) foreignRequests.push(request.url());
  });
  page.on('console', (message) => {
    if (message.type() === 'error') pageErrors.push(message.text());
  });
  page.on('pageerror', (error) => pageErrors.push(error.message));
  await page.goto(`${stack.url}/docs`);
  await page.waitForSelector('.opblock');
}, 300_000);
afterAll(async () => {
  await browser?.close();
  await stack?.close();
});

test('the page shows every operation, loads nothing from another host, and has no errors', async () => {
  const operations = await page.locator('.opblock').count();
  const document = (await (await fetch(`${stack.url}/openapi.json`)).json()) as { paths: Record<string, object> };
  expect(operations).toBe(Object.values(document.paths).flatMap((item) => Object.keys(item)).length);
  expect({ foreignRequests, pageErrors }).toEqual({ foreignRequests: [], pageErrors: [] });
  if (process.env.DOCS_SCREENSHOT) await page.screenshot({ path: process.env.DOCS_SCREENSHOT });
});

test('"Try it out" creates a user through the gateway', async () => {
  const operation = page.locator('#operations-Users-createUser');
  await operation.locator('.opblock-summary-control').click();
  await operation.locator('button.execute').click();
  const responseStatus = operation.locator('.live-responses-table .response .response-col_status');
  await responseStatus.first().waitFor();
  expect(await responseStatus.first().innerText()).toContain('201');
  if (process.env.DOCS_SCREENSHOT)
    await page.screenshot({ path: process.env.DOCS_SCREENSHOT.replace('.png', '-tried.png') });
  const found = await fetch(`${stack.url}/users?email=ada@example.com`);
  expect(await found.json()).toMatchObject({ total: 1 });
});
