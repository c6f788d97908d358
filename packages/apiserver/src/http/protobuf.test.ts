import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ApiError } from '../status.ts';
import { decodeProtobuf } from './protobuf.ts';

/** A field of the wire format: a text or a nested message, or a number. */
function field(number: number, value: string | Buffer | number): Buffer {
  if (typeof value === 'number') return Buffer.concat([varint(number << 3), varint(value)]);
  const bytes = Buffer.from(value);
  return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const bytes = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

const message = (...fields: Buffer[]): Buffer => Buffer.concat(fields);

function envelope(apiVersion: string, kind: string, raw: Buffer): Buffer {
  return message(
    Buffer.from('k8s\0'),
    field(1, message(field(1, apiVersion), field(2, kind))),
    field(2, raw),
  );
}

describe('protobuf', () => {
  it('becomes the JSON that the same client would have sent', () => {
    const metadata = message(
      field(1, 's'),
      field(3, 'ns'),
      field(5, ''),
      field(8, ''),
      field(11, message(field(1, 'app'), field(2, 'web'))),
    );
    const entry = message(field(1, 'password'), field(2, Buffer.from([0xff, 0x00])));
    const raw = message(field(1, metadata), field(2, entry), field(3, 'Opaque'));
    expect(decodeProtobuf(envelope('v1', 'Secret', raw))).toEqual({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's', namespace: 'ns', labels: { app: 'web' } },
      data: { password: '/wA=' },
      type: 'Opaque',
    });
  });

  it('keeps numbers, quantities, times and inlined parts as JSON has them', () => {
    const port = message(field(3, 80), field(4, message(field(1, 1), field(3, 'http'))));
    const service = message(field(1, field(1, 'web')), field(2, field(1, port)));
    expect(decodeProtobuf(envelope('v1', 'Service', service))['spec']).toEqual({
      ports: [{ port: 80, targetPort: 'http' }],
    });
    const reference = message(field(1, field(1, 'secret-name')), field(2, 'key'));
    const variable = message(field(1, 'V'), field(3, field(4, reference)));
    const limits = message(field(1, 'cpu'), field(2, field(1, '100m')));
    const container = message(field(1, 'c'), field(7, variable), field(8, field(1, limits)));
    const pod = message(field(1, field(8, field(1, 1_767_225_600))), field(2, field(2, container)));
    expect(decodeProtobuf(envelope('v1', 'Pod', pod))).toMatchObject({
      metadata: { creationTimestamp: '2026-01-01T00:00:00Z' },
      spec: {
        containers: [
          {
            name: 'c',
            env: [{ name: 'V', valueFrom: { secretKeyRef: { name: 'secret-name', key: 'key' } } }],
            resources: { limits: { cpu: '100m' } },
          },
        ],
      },
    });
  });

  it('of other kinds is refused', () => {
    const act = (): unknown => decodeProtobuf(envelope('example.com/v1', 'Widget', Buffer.alloc(0)));
    expect(act).toThrow(expect.objectContaining({ code: 'UnsupportedMediaType' }));
  });

  it('of any other bytes is refused, and never harms', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeProtobuf(envelope('v1', 'Pod', Buffer.from(bytes)));
        } catch (error) {
          expect(error).toBeInstanceOf(ApiError);
        }
      }),
    );
  });
});
