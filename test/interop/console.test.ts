import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { cleanUp, deploymentReady, type Hub, ROOT, startHub, startSpoke } from '../support/mural.ts';
import { run } from '../support/run.ts';

describe('the console in Chromium', () => {
  let hub: Hub;
  let browser: Browser;
  let token: string;
  const complaints: string[] = [];

  beforeAll(async () => {
    hub = await startHub();
    await Promise.all(
      ['edge-1', 'edge-2'].map(async (name) => startSpoke(hub, name, { labels: { tier: 'edge' } })),
    );
    const kubeconfig = parse(await readFile(hub.ready.kubeconfig, 'utf8')) as {
      users: [{ user: { token: string } }];
    };
    token = kubeconfig.users[0].user.token;
    const executablePath = (await run('sh', ['-c', 'command -v chromium'])).trim();
    browser = await chromium.launch({ executablePath, args: ['--disable-gpu'] });
  });
  afterAll(async () => {
    await browser.close();
    await cleanUp();
  });

  /** A page of its own; what the browser complains of is kept, wrong tokens aside. */
  async function visit(fragment = '', options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        complaints.push(message.text());
    });
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== hub.ready.console) complaints.push(request.url());
    });
    await page.goto(`${hub.ready.console}/${fragment}`);
    return page;
  }

  it('says what is wrong with a token', async () => {
    const page = await visit();
    const field = page.getByLabel('Bearer token');
    await page.getByRole('button', { name: 'Sign in' }).click();
    expect(await page.getByRole('alert').textContent()).toBe('Paste the token first.');
    await field.fill('not a token');
    await field.press('Enter');
    await page.getByText('characters that no token has').waitFor();
    await field.fill('wrong');
    await field.press('Enter');
    await page.getByText('The hub did not accept this token (401').waitFor();
    expect(await page.evaluate('sessionStorage.length')).toBe(0);
    await page.context().close();
  });

  it('says so when nothing is deployed, and shows what is, as it arrives', async () => {
    const page = await visit();
    await page.getByLabel('Bearer token').fill(token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('Nothing is deployed yet.').waitFor();
    const spokes = page.getByRole('table', { name: 'Spokes of the fleet' }).getByRole('row');
    expect(await spokes.count()).toBe(1 + 3);
    const env = { KUBECONFIG: hub.ready.kubeconfig };
    await run('kubectl', ['apply', '--filename', join(ROOT, 'examples/quickstart')], { env });
    await deploymentReady(hub, 'hello');
    for (const name of ['hub', 'edge-1', 'edge-2']) {
      await spokes
        .filter({ has: page.getByRole('rowheader', { name, exact: true }) })
        .filter({ hasText: '✓Ready' })
        .filter({ has: page.getByRole('cell', { name: '1/1' }) })
        .waitFor();
    }
    await page.getByRole('row', { name: 'default/hello' }).filter({ hasText: '3/3' }).waitFor();
    await page.context().close();
  });

  it('shows each spoke of a workload, and claims no health where nothing runs', async () => {
    const page = await visit(`#token=${token}`);
    await page.getByRole('link', { name: 'default/hello' }).click();
    const rows = page
      .getByRole('table', { name: 'The workload on each of its spokes' })
      .getByRole('row')
      .filter({ hasText: 'NoNodes' });
    await rows.nth(2).waitFor();
    for (const text of await rows.allTextContents()) {
      expect(text).toMatch(/^(hub|edge-1|edge-2)✓Ready\?UnknownNoNodes[0-9a-f]{12}4/);
    }
    await page
      .getByRole('table', { name: /^Recent events/ })
      .getByText('ArtifactPushed')
      .first()
      .waitFor();
    await page.getByRole('table', { name: 'Conditions' }).getByText('Published to 3 spokes').waitFor();
    expect(await page.title()).toBe('hello · mural');
    await page.getByRole('link', { name: 'Fleet' }).click();
    await page.getByRole('heading', { name: 'Fleet' }).waitFor();
    await page.context().close();
  });

  it('keeps the token to the tab, and forgets it on demand', async () => {
    const page = await visit(`#token=${token}`);
    await page.getByRole('heading', { name: 'Fleet' }).waitFor();
    expect(page.url()).toBe(`${hub.ready.console}/#/`);
    expect(await page.evaluate('localStorage.length')).toBe(0);
    expect(await page.context().cookies()).toEqual([]);
    await page.reload();
    await page.getByRole('heading', { name: 'Fleet' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await page.reload();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    expect(await page.evaluate('sessionStorage.length')).toBe(0);
    await page.context().close();
  });

  it('tells somebody who may not see the fleet so, and keeps no fleet', async () => {
    const args = ['get', 'secret', 'spoke-edge-1-token', '--namespace', 'mural-system', '-o'];
    const env = { KUBECONFIG: hub.ready.kubeconfig };
    const encoded = await run('kubectl', [...args, 'jsonpath={.data.token}'], { env });
    const page = await visit(`#token=${Buffer.from(encoded, 'base64').toString()}`);
    await page.getByRole('alert').getByText('it may not see the fleet').waitFor();
    expect(await page.getByRole('table').count()).toBe(0);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Bearer token').waitFor();
    await page.context().close();
  });

  it('fits a phone', async () => {
    const page = await visit(`#token=${token}`, { viewport: { width: 360, height: 740 } });
    const fits = 'document.documentElement.scrollWidth <= innerWidth';
    await page.getByRole('link', { name: 'default/hello' }).waitFor();
    expect(await page.evaluate(fits)).toBe(true);
    await page.getByRole('link', { name: 'default/hello' }).click();
    await page.getByRole('table', { name: /^Recent events/ }).waitFor();
    expect(await page.evaluate(fits)).toBe(true);
    await page.context().close();
  });

  it('keeps what it showed when the hub goes away, and says that it is old', async () => {
    const page = await visit(`#token=${token}`);
    await page.getByText('Live', { exact: true }).waitFor();
    expect(await hub.stop()).toBe(0);
    await page.getByText('This is no longer live.').waitFor();
    expect(await page.getByRole('row', { name: 'default/hello' }).count()).toBe(1);
    await page.getByText(/^Stale, from/).waitFor();
    await page.context().close();
  });

  it('gave the browser nothing to complain of', () => {
    expect(complaints).toEqual([]);
  });
});
