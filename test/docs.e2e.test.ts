// /docs in a real browser that reaches only this gateway.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { type Browser, chromium, type Locator, type Page } from 'playwright-core';
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
  if (process.env.DOCS_SCREENSHOT) await page.screenshot({ path: process.env.DOCS_SCREENSHOT, fullPage: true });
});

function operationOf(on: Page, id: string): Locator {
  return on.locator(`#operations-${id}`);
}

async function open(operation: Locator): Promise<void> {
  await operation.locator('.opblock-summary-control').click();
  await operation.locator('.responses-table .response').first().waitFor();
}

/** Sends what the page has filled in. @returns the status, the URL and the body of the request */
async function execute(operation: Locator): Promise<{ status: number; url: URL; sent: string | null }> {
  const on = operation.page();
  const answered = on.waitForResponse((response) => !response.url().includes('/docs'));
  await operation.locator('button.execute').click();
  const response = await answered;
  await operation.locator('.live-responses-table .response .response-col_status').first().waitFor();
  return { status: response.status(), url: new URL(response.url()), sent: response.request().postData() };
}

test('"Try it out" creates a user through the gateway, and another one when it is repeated', async () => {
  const operation = operationOf(page, 'Users-createUser');
  await open(operation);
  const first = await execute(operation);
  expect(await operation.locator('.live-responses-table .response-col_status').last().innerText()).toContain('201');
  if (process.env.DOCS_SCREENSHOT)
    await page.screenshot({ path: process.env.DOCS_SCREENSHOT.replace('.png', '-tried.png') });
  const second = await execute(operation);
  expect([first.status, second.status]).toEqual([201, 201]);
  const emails = [first, second].map(({ sent }) => JSON.parse(String(sent)).email as string);
  expect(new Set(emails).size).toBe(2);
  for (const email of emails) {
    const found = await fetch(`${stack.url}/users?email=${email}`);
    expect(await found.json()).toMatchObject({ total: 1 });
  }
});

test('Authorize sends what is filled in as a bearer credential, and the browser keeps it nowhere', async () => {
  expect(await page.locator('.scheme-container label').filter({ hasText: 'Servers' }).isVisible()).toBe(false);
  const other = await browser.newPage({ viewport: { width: 1280, height: 1600 } });
  try {
    await other.goto(`${stack.url}/docs`);
    await other.locator('.scheme-container .authorize').click();
    const dialog = other.locator('.modal-ux');
    await dialog.locator('input').fill('a-credential');
    if (process.env.DOCS_SCREENSHOT)
      await other.screenshot({ path: process.env.DOCS_SCREENSHOT.replace('.png', '-authorize.png') });
    await dialog.locator('button.authorize').click();
    await dialog.locator('button.btn-done').click();
    const operation = operationOf(other, 'Promotions-listPromotions');
    await open(operation);
    const sent = other.waitForRequest((request) => request.url().includes('/promotions'));
    await execute(operation);
    expect(await (await sent).headerValue('authorization')).toBe('Bearer a-credential');
    expect(await other.evaluate('localStorage.length + sessionStorage.length + document.cookie.length')).toBe(0);
    await other.reload();
    await other.waitForSelector('.scheme-container .authorize.unlocked');
  } finally {
    await other.close();
  }
});

test('with AUTH=required, Authorize opens the operations', async () => {
  const locked = await startFreshStack('memory', { AUTH: 'required' });
  const other = await browser.newPage({ viewport: { width: 1280, height: 1600 } });
  try {
    await other.goto(`${locked.url}/docs`);
    const operation = operationOf(other, 'Users-createUser');
    await open(operation);
    expect((await execute(operation)).status).toBe(401);
    await other.locator('.scheme-container .authorize').click();
    const dialog = other.locator('.modal-ux');
    await dialog.locator('input').fill(String(locked.firstKey));
    await dialog.locator('button.authorize').click();
    await dialog.locator('button.btn-done').click();
    expect((await execute(operation)).status).toBe(201);
  } finally {
    await other.close();
    await locked.close();
  }
}, 120_000);

test('a list is read page by page from the page: next_cursor is accepted as it was returned', async () => {
  for (const name of ['A', 'B']) {
    const body = JSON.stringify({ name, start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' });
    await fetch(`${stack.url}/promotions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  }
  const operation = operationOf(page, 'Promotions-listPromotions');
  await open(operation);
  const parameter = (name: string) => operation.locator(`tr[data-param-name="${name}"] input`);
  await parameter('limit').fill('1');
  const first = await execute(operation);
  expect([first.status, first.url.search]).toEqual([200, '?limit=1']);
  const { next_cursor } = (await (await fetch(first.url)).json()) as { next_cursor: string };
  await parameter('cursor').fill(next_cursor);
  const second = await execute(operation);
  expect([second.status, second.url.search]).toEqual([200, `?limit=1&cursor=${next_cursor}`]);
});

test('an opened operation is short: an error is one line until it is opened', async () => {
  const operation = operationOf(page, 'Subscriptions-createSubscription');
  await open(operation);
  const { height = Number.NaN } = (await operation.boundingBox()) ?? {};
  expect(height).toBeLessThan(1_700);
  const conflict = operation.locator('.responses-table tr.response[data-code="409"]');
  expect(await conflict.innerText()).toContain('Conflict');
  expect(await conflict.innerText()).not.toContain('Duplicate subscriptions');
  await conflict.locator('button').click();
  await operation.locator('.responses-table', { hasText: 'Duplicate subscriptions' }).waitFor();
  expect(await page.locator('body').innerText()).not.toContain('-9007199254740991');
});

/** The operations whose path is not beside their method. */
function brokenRows(on: Page): Promise<string[]> {
  return on.locator('.opblock').evaluateAll((operations) =>
    operations
      .filter((operation) => {
        const method = operation.querySelector('.opblock-summary-method')?.getBoundingClientRect();
        const path = operation.querySelector('.opblock-summary-path')?.getBoundingClientRect();
        return !method || !path || path.left < method.right || path.top > method.bottom || path.bottom < method.top;
      })
      .map(({ id }) => id),
  );
}

/** The types of parameters, such as `($int64)`, that are broken into two lines. */
function brokenTypes(on: Page): Promise<string[]> {
  return on.locator('.parameter__type .prop-format').evaluateAll((formats) =>
    formats
      .filter((format) => {
        const text = format.ownerDocument.createRange();
        text.selectNodeContents(format);
        return new Set([...text.getClientRects()].map(({ top }) => top)).size !== 1;
      })
      .map(({ textContent }) => String(textContent)),
  );
}

/** The buttons that lie on the text of an answer or of the curl command. */
function coveredText(operation: Locator): Promise<string[]> {
  return operation.locator(':is(.curl-command, .live-responses-table .highlight-code) button').evaluateAll((buttons) =>
    buttons
      .filter((button) => {
        const text = button.closest('.highlight-code, .curl-command')?.querySelector('pre')?.getBoundingClientRect();
        return !text || text.bottom > button.getBoundingClientRect().top;
      })
      .map(({ className }) => className),
  );
}

test('on a phone nothing scrolls sideways, breaks or is covered, with operations opened and tried', async () => {
  const phone = await browser.newPage({ viewport: { width: 390, height: 844 } });
  try {
    await phone.goto(`${stack.url}/docs`);
    await phone.waitForSelector('.opblock');
    const width = () => phone.evaluate('document.documentElement.scrollWidth');
    expect(await width()).toBe(390);
    for (const id of ['Users-createUser', 'Promotions-listPromotions', 'Subscriptions-listSubscriptions']) {
      const operation = operationOf(phone, id);
      await open(operation);
      await execute(operation);
      expect([id, await width()]).toEqual([id, 390]);
      expect([id, await coveredText(operation)]).toEqual([id, []]);
      const headings = await operation.locator('h4').allInnerTexts();
      expect([id, headings.filter((text) => text === 'Responses')]).toEqual([id, ['Responses']]);
    }
    // The page draws again after each answer.
    await eventually(async () => expect([await brokenRows(phone), await brokenTypes(phone)]).toEqual([[], []]));
    if (process.env.DOCS_SCREENSHOT)
      await phone.screenshot({ path: process.env.DOCS_SCREENSHOT.replace('.png', '-phone.png'), fullPage: true });
  } finally {
    await phone.close();
  }
});
