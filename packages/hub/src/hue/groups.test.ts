import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { groupKey, Groups, MAX_MEMBERS, validGroupId } from './groups.ts';

const A = 'oci://a/mural';
const B = 'oci://b/mural';
const at = (registry: string, more: { recorded?: string; labels?: string } = {}) => ({
  registry,
  recorded: undefined,
  labels: '{}',
  ...more,
});

describe('the group of a spoke', () => {
  it('takes 250 members, and then there is another', () => {
    const groups = new Groups();
    const ids = Array.from({ length: MAX_MEMBERS + 1 }, (_, index) => groups.place(`s${index}`, at(A)).id);
    expect(new Set(ids.slice(0, MAX_MEMBERS)).size).toBe(1);
    expect(ids[MAX_MEMBERS]).not.toBe(ids[0]);
  });

  it('is the recorded one, in whatever order spokes come, unless that has no room', () => {
    const groups = new Groups();
    const recorded = '0123456789ab';
    const placed = ['z', 'a', 'm'].map((name) => groups.place(name, at(A, { recorded })).id);
    expect(placed).toEqual([recorded, recorded, recorded]);
    for (let index = 3; index < MAX_MEMBERS; index += 1) groups.place(`s${index}`, at(A, { recorded }));
    expect(groups.place('late', at(A, { recorded })).id).not.toBe(recorded);
  });

  it('keeps its id in another registry, where its members find each other again', () => {
    const groups = new Groups();
    const before = ['a', 'b', 'c'].map((name) => groups.place(name, at(A)));
    const moved = ['c', 'a'].map((name) => groups.place(name, at(B)));
    expect(new Set([...before, ...moved].map(({ id }) => id)).size).toBe(1);
    expect(new Set(moved.map(groupKey)).size).toBe(1);
    expect([...(before[0]?.members ?? [])]).toEqual(['b']);
    groups.remove('b');
    expect(groups.get(groupKey({ id: before[0]?.id ?? '', registry: A }))).toBeUndefined();
  });

  it('is one with spokes of the same labels, where there is one', () => {
    const groups = new Groups();
    const full = groups.place('x0', at(A, { labels: 'x', recorded: '00000000000a' }));
    groups.place('x1', at(A, { labels: 'x', recorded: '00000000000a' }));
    const other = groups.place('y0', at(A, { labels: 'y', recorded: '00000000000b' }));
    expect(groups.place('y1', at(A, { labels: 'y' }))).toBe(other);
    expect(groups.place('z', at(A, { labels: 'z' }))).toBe(full);
    full.full = true;
    expect(groups.place('x2', at(A, { labels: 'x' }))).toBe(other);
  });

  it('is exactly one, never too large, whatever spokes do', () => {
    const step = fc.record({
      spoke: fc.nat(20).map((index) => `s${index}`),
      registry: fc.constantFrom(A, B),
      recorded: fc.option(fc.constantFrom('00000000000a', '00000000000b'), { nil: undefined }),
      gone: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const groups = new Groups();
        const there = new Map<string, string>();
        for (const { spoke, registry, recorded, gone } of steps) {
          if (gone) groups.remove(spoke);
          else groups.place(spoke, { registry, recorded, labels: '' });
          if (gone) there.delete(spoke);
          else there.set(spoke, registry);
        }
        for (const [spoke, registry] of there) {
          const group = groups.of(spoke);
          expect(group?.registry).toBe(registry);
          expect(group?.members.has(spoke)).toBe(true);
          expect(groups.get(groupKey(group ?? { id: '', registry }))).toBe(group);
        }
      }),
    );
  });

  it('is not read off an annotation that is no id', () => {
    expect(validGroupId('0123456789ab')).toBe('0123456789ab');
    for (const text of ['', '0123456789AB', '../../../etc', '0123456789abc', undefined]) {
      expect(validGroupId(text)).toBeUndefined();
    }
  });
});
