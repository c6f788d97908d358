import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Staging, STAGING_BYTES, StagingBuffers } from './staging.ts';

const GROUP = 8;
const MEMORY = GROUP * STAGING_BYTES;

function take(buffers: StagingBuffers, count: number): Staging[] {
  return Array.from({ length: count }, () => buffers.take());
}

afterEach(() => {
  vi.unstubAllGlobals();
});

describe('staging buffers', () => {
  it('have their size, and begin where a block of a disk may', () => {
    const buffers = new StagingBuffers();
    for (const { memory, offset, bytes } of take(buffers, 20)) {
      expect([bytes.length, offset % 4096, bytes.byteOffset]).toEqual([STAGING_BYTES, 0, offset]);
      expect(bytes.buffer).toBe(memory);
      // Memory that threads share is not copied to them.
      expect(memory).toBeInstanceOf(SharedArrayBuffer);
    }
  });

  it('are never handed out twice at a time, in whatever order they come back', () => {
    const steps = fc.array(fc.oneof(fc.constant('take' as const), fc.nat(), fc.nat()), { maxLength: 200 });
    const property = fc.property(steps, (chosen) => {
      const buffers = new StagingBuffers();
      const used: Staging[] = [];
      const places = new Set<string>();
      const memories = new Map<SharedArrayBuffer, number>();
      const place = ({ memory, offset }: Staging): string => {
        if (!memories.has(memory)) memories.set(memory, memories.size);
        return `${memories.get(memory)} ${offset}`;
      };
      for (const step of chosen) {
        if (step === 'take' || used.length === 0) {
          const staging = buffers.take();
          expect(places.has(place(staging))).toBe(false);
          places.add(place(staging));
          used.push(staging);
        } else {
          const [staging] = used.splice(step % used.length, 1);
          if (staging === undefined) continue;
          places.delete(place(staging));
          buffers.giveBack(staging);
        }
        expect(buffers.taken).toBe(used.length);
      }
      used.forEach((staging) => buffers.giveBack(staging));
      expect([buffers.taken, buffers.bytes <= 2 * MEMORY]).toEqual([0, true]);
    });
    fc.assert(property, { numRuns: 40 });
  });

  it('that are given back twice are handed out once', () => {
    const buffers = new StagingBuffers();
    const staging = buffers.take();
    buffers.giveBack(staging);
    buffers.giveBack(staging);
    expect(new Set(take(buffers, GROUP)).size).toBe(GROUP);
    expect([buffers.taken, buffers.bytes]).toEqual([GROUP, MEMORY]);
  });

  it('beyond two groups are let go when none of their group is in use', () => {
    const buffers = new StagingBuffers();
    const used = take(buffers, 4 * GROUP);
    expect(buffers.bytes).toBe(4 * MEMORY);
    const last = used.pop();
    used.forEach((staging) => buffers.giveBack(staging));
    expect([buffers.taken, buffers.bytes]).toEqual([1, 3 * MEMORY]);
    if (last !== undefined) buffers.giveBack(last);
    expect([buffers.taken, buffers.bytes]).toEqual([0, 2 * MEMORY]);
  });

  it('of others are not taken in', () => {
    const [ours, others] = [new StagingBuffers(), new StagingBuffers()];
    ours.giveBack(others.take());
    expect([ours.taken, ours.bytes, others.taken]).toEqual([0, 0, 1]);
  });

  it('are had where a process has too little address space for memory of WebAssembly', () => {
    const Memory = vi.fn(() => {
      throw new RangeError('could not allocate memory');
    });
    vi.stubGlobal('WebAssembly', { Memory });
    const { memory, bytes } = new StagingBuffers().take();
    expect(Memory).toHaveBeenCalled();
    expect([memory.byteLength, bytes.length]).toEqual([MEMORY, STAGING_BYTES]);
  });
});
