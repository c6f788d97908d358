import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configMap, TestServer } from './testing/server.ts';
import type { Answered, TestWatch } from './testing/server.ts';

const MAPS = '/api/v1/namespaces/watched/configmaps';

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
  await server.post('/api/v1/namespaces', {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'watched' },
  });
});
afterAll(() => server.close());

async function revision(): Promise<string> {
  return (await server.get(MAPS)).body.metadata.resourceVersion as string;
}

/** The next event that is about one of the names. */
async function nextOf(watch: TestWatch, ...names: string[]): Promise<Answered> {
  for (;;) {
    const event = await watch.next();
    if (event === undefined || names.includes(event.object.metadata?.name)) return event;
  }
}

describe('a watch', () => {
  it('tells every change after its revision, in order, each once', async () => {
    const since = await revision();
    await server.post(MAPS, configMap('before'));
    const watch = await server.watch(`${MAPS}?watch=true&resourceVersion=${since}`);
    await server.patch(`${MAPS}/before`, { data: { a: '1' } });
    await server.delete(`${MAPS}/before`);
    const events = [];
    for (let index = 0; index < 3; index += 1) events.push(await nextOf(watch, 'before'));
    watch.stop();
    expect(events.map((event) => event.type)).toEqual(['ADDED', 'MODIFIED', 'DELETED']);
    const versions = events.map((event) => Number(event.object.metadata.resourceVersion));
    expect(versions).toEqual([...versions].sort((a, b) => a - b));
    expect(new Set(versions).size).toBe(3);
  });

  it('sends DELETED when an object leaves its selector, and ADDED when one comes in', async () => {
    const since = await revision();
    const watch = await server.watch(
      `${MAPS}?watch=true&resourceVersion=${since}&labelSelector=colour%3Dred`,
    );
    await server.post(MAPS, configMap('painted', {}, { labels: { colour: 'red' } }));
    await server.patch(`${MAPS}/painted`, { metadata: { labels: { colour: 'blue' } } });
    await server.patch(`${MAPS}/painted`, { metadata: { labels: { colour: 'red' } } });
    const events = [await watch.next(), await watch.next(), await watch.next()];
    watch.stop();
    expect(events.map((event) => event.type)).toEqual(['ADDED', 'DELETED', 'ADDED']);
    expect(events[1].object.metadata.labels).toEqual({ colour: 'red' });
  });

  it('streams the present state first and marks its end', async () => {
    await server.post(MAPS, configMap('present'));
    const watch = await server.watch(
      `${MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true` +
        '&fieldSelector=metadata.name%3Dpresent',
    );
    const [added, bookmark] = [await watch.next(), await watch.next()];
    expect([added.type, added.object.metadata.name]).toEqual(['ADDED', 'present']);
    expect(bookmark.type).toBe('BOOKMARK');
    expect(bookmark.object.metadata.annotations).toEqual({ 'k8s.io/initial-events-end': 'true' });
    expect(Number(bookmark.object.metadata.resourceVersion)).toBeGreaterThan(0);
    await server.delete(`${MAPS}/present`);
    expect((await watch.next()).type).toBe('DELETED');
    watch.stop();
  });

  it('ends by itself after timeoutSeconds', async () => {
    const watch = await server.watch(
      `${MAPS}?watch=true&resourceVersion=${await revision()}&timeoutSeconds=1`,
    );
    expect(await watch.next()).toBeUndefined();
  });

  it('answers tables to those who ask for them, with columns in the first event only', async () => {
    const watch = await server.watch(`${MAPS}?watch=true&resourceVersion=${await revision()}`, {
      accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json',
    });
    await server.post(MAPS, configMap('tabled', { a: '1' }));
    await server.patch(`${MAPS}/tabled`, { data: { b: '2' } });
    const [first, second] = [await watch.next(), await watch.next()];
    watch.stop();
    expect(first.object.columnDefinitions.map((column: Answered) => column.name)).toEqual([
      'Name',
      'Data',
      'Age',
    ]);
    expect(first.object.rows[0].cells.slice(0, 2)).toEqual(['tabled', 1]);
    expect(second.object.columnDefinitions).toBeNull();
    expect(second.object.rows[0].cells[1]).toBe(2);
  });

  it('says Expired for a revision before the memory of changes', async () => {
    const since = await revision();
    await server.post(MAPS, configMap('forgotten'));
    await server.restart();
    const watch = await server.watch(`${MAPS}?watch=true&resourceVersion=${since}`);
    const event = await watch.next();
    expect(event).toMatchObject({ type: 'ERROR', object: { kind: 'Status', reason: 'Expired', code: 410 } });
    expect(await watch.next()).toBeUndefined();
  });

  it('goes on over many writers without losing or doubling an event', async () => {
    const watch = await server.watch(`${MAPS}?watch=true&resourceVersion=${await revision()}`);
    const names = Array.from({ length: 200 }, (_, index) => `many-${index}`);
    await Promise.all(names.map((name) => server.post(MAPS, configMap(name))));
    const seen: string[] = [];
    let last = 0;
    while (seen.length < names.length) {
      const { type, object } = await nextOf(watch, ...names);
      expect(type).toBe('ADDED');
      expect(Number(object.metadata.resourceVersion)).toBeGreaterThan(last);
      last = Number(object.metadata.resourceVersion);
      seen.push(object.metadata.name as string);
    }
    watch.stop();
    expect(new Set(seen).size).toBe(200);
  });
});

describe('a list', () => {
  it('comes in pages of one consistent state', async () => {
    const first = await server.get(`${MAPS}?limit=50`);
    expect(first.body.items).toHaveLength(50);
    const total = 50 + Number(first.body.metadata.remainingItemCount);
    await server.post(MAPS, configMap('zz-late'));
    await server.delete(`${MAPS}/many-99`);
    const items = [...first.body.items];
    let next = first.body.metadata.continue as string | undefined;
    while (next !== undefined) {
      const page = await server.get(`${MAPS}?limit=50&continue=${encodeURIComponent(next)}`);
      expect(page.body.metadata.resourceVersion).toBe(first.body.metadata.resourceVersion);
      items.push(...page.body.items);
      next = page.body.metadata.continue;
    }
    const names = items.map((item: Answered) => item.metadata.name as string);
    expect(names).toHaveLength(total);
    expect(names).toContain('many-99');
    expect(names).not.toContain('zz-late');
    expect(names).toEqual([...names].sort());
  });

  it('leaves the count out with a selector, and refuses tokens it never gave', async () => {
    const labelled = await server.get(`${MAPS}?limit=1&labelSelector=!nothing`);
    expect(labelled.body.metadata.continue).toBeDefined();
    expect(labelled.body.metadata.remainingItemCount).toBeUndefined();
    expect((await server.get(`${MAPS}?limit=1&continue=nonsense`)).body.reason).toBe('BadRequest');
  });

  it('gives an inconsistent rest when the snapshot of its token is gone', async () => {
    const first = await server.get(`${MAPS}?limit=1`);
    await server.post(MAPS, configMap('newer'));
    await server.restart();
    const late = await server.get(
      `${MAPS}?limit=1&continue=${encodeURIComponent(first.body.metadata.continue)}`,
    );
    expect([late.status, late.body.reason]).toEqual([410, 'Expired']);
    const rest = await server.get(`${MAPS}?continue=${encodeURIComponent(late.body.metadata.continue)}`);
    expect(rest.body.items.map((item: Answered) => item.metadata.name)).toContain('newer');
  });

  it('knows which revisions it cannot serve', async () => {
    const future = await server.get(`${MAPS}?resourceVersion=999999`);
    expect([future.status, future.body.reason]).toEqual([504, 'Timeout']);
    expect(future.body.message).toMatch(/^Too large resource version: 999999, current: \d+$/);
  });

  it('selects by labels and fields', async () => {
    await server.post(MAPS, configMap('sel-1', {}, { labels: { tier: 'a', app: 'x' } }));
    await server.post(MAPS, configMap('sel-2', {}, { labels: { tier: 'b', app: 'x' } }));
    const names = async (query: string): Promise<string[]> => {
      const { body } = await server.get(`${MAPS}?${query}`);
      return body.items.map((item: Answered) => item.metadata.name as string);
    };
    const label = (selector: string): string => `labelSelector=${encodeURIComponent(selector)}`;
    expect(await names(label('app=x,tier!=b'))).toEqual(['sel-1']);
    expect(await names(label('tier in (a,b)'))).toEqual(['sel-1', 'sel-2']);
    expect(await names(label('app,tier notin (a)'))).toEqual(['sel-2']);
    expect(await names(`fieldSelector=metadata.name%3Dsel-2`)).toEqual(['sel-2']);
    const unknown = await server.get(`${MAPS}?fieldSelector=data.num%3D1`);
    expect(unknown.body.message).toBe(
      '"data.num" is not a known field selector: only "metadata.name", "metadata.namespace"',
    );
    expect((await server.get(`${MAPS}?${label('a b c')}`)).status).toBe(400);
  });

  it('is compressed when it is large and the client can take it', async () => {
    await server.post(MAPS, configMap('large', { a: 'x'.repeat(200_000) }));
    const reply = await server.send('GET', MAPS, { headers: { 'accept-encoding': 'gzip' } });
    expect(reply.headers['content-encoding']).toBe('gzip');
  });

  it('is metadata alone for those who ask for that', async () => {
    const reply = await server.send('GET', `${MAPS}?limit=1`, {
      accept: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
    });
    expect(reply.body.kind).toBe('PartialObjectMetadataList');
    expect(reply.body.items[0].kind).toBe('PartialObjectMetadata');
    expect(reply.body.items[0].data).toBeUndefined();
  });
});
