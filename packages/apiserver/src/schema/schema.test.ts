import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  applyDefaults,
  builtinDefaults,
  builtinSchemas,
  canonicalQuantity,
  compileCrdSchema,
  prune,
  type TypeSchema,
  unknownFields,
} from './index.ts';
import { nanoUnits } from './quantity.ts';

function builtin(apiVersion: string, kind: string): TypeSchema {
  const schema = builtinSchemas().schemaFor(apiVersion, kind);
  if (schema === undefined) throw new Error(`no ${kind}`);
  return schema;
}

describe('builtinSchemas', () => {
  it('knows what merges and by which keys', () => {
    const ports = builtin('v1', 'Pod').properties?.['spec']?.properties?.['containers']?.items?.properties?.[
      'ports'
    ];
    expect(ports).toMatchObject({
      type: 'array',
      listType: 'map',
      listMapKeys: ['containerPort', 'protocol'],
      patchMergeKey: 'containerPort',
    });
    expect(ports?.items?.properties?.['protocol']?.implied).toBe('TCP');
  });

  it('unfolds recursive types as far as they are read', () => {
    let schema: TypeSchema | undefined = builtin('apiextensions.k8s.io/v1', 'CustomResourceDefinition');
    for (const key of ['spec', 'versions']) schema = schema?.properties?.[key];
    schema = schema?.items?.properties?.['schema']?.properties?.['openAPIV3Schema'];
    for (let depth = 0; depth < 5; depth++) schema = schema?.properties?.['properties']?.additionalProperties;
    expect(schema?.name).toBe('io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps');
  });

  it.each([
    ['v1', 'Nope'],
    ['__proto__', 'x'],
    ['v1', 'constructor'],
  ])('knows no %s %s', (apiVersion, kind) => {
    expect(builtinSchemas().schemaFor(apiVersion, kind)).toBeUndefined();
  });

  it('describes fields', () => {
    expect(
      builtin('apps/v1', 'Deployment').properties?.['spec']?.properties?.['replicas']?.description,
    ).toMatch(/Number of desired pods/);
  });
});

describe('unknownFields and prune', () => {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', nope: 1 },
    spec: { containers: [{ name: 'c', foo: 1 }], nope: {} },
    extra: true,
  };

  it('names unknown fields with their path', () => {
    expect(unknownFields(pod, builtin('v1', 'Pod'))).toEqual([
      'metadata.nope',
      'spec.containers[0].foo',
      'spec.nope',
      'extra',
    ]);
  });

  it('takes them away, and nothing else', () => {
    const pruned = prune(pod, builtin('v1', 'Pod'));
    expect(pruned).toEqual({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p' },
      spec: { containers: [{ name: 'c' }] },
    });
    expect(unknownFields(pruned, builtin('v1', 'Pod'))).toEqual([]);
    expect(prune(pruned, builtin('v1', 'Pod'))).toBe(pruned);
  });

  const schema = compileCrdSchema({
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        properties: {
          open: {
            type: 'object',
            'x-kubernetes-preserve-unknown-fields': true,
            properties: { known: { type: 'object' } },
          },
          map: {
            type: 'object',
            additionalProperties: { type: 'object', properties: { a: { type: 'string' } } },
          },
          tpl: {
            type: 'object',
            'x-kubernetes-embedded-resource': true,
            properties: { spec: { type: 'object' } },
          },
          any: { type: 'object', additionalProperties: true },
        },
      },
    },
  });

  it('keeps what a schema leaves open', () => {
    const spec = {
      open: { x: { y: 1 }, known: { z: 1 } },
      map: { k: { a: '1', b: '2' } },
      tpl: { apiVersion: 'v1', kind: 'X', metadata: { name: 'n' }, spec: { q: 1 }, data: {} },
      any: { a: { b: 1 } },
    };
    expect(prune({ apiVersion: 'e.x/v1', kind: 'F', metadata: { name: 'n' }, spec }, schema)).toEqual({
      apiVersion: 'e.x/v1',
      kind: 'F',
      metadata: { name: 'n' },
      spec: {
        open: { x: { y: 1 }, known: {} },
        map: { k: { a: '1' } },
        tpl: { apiVersion: 'v1', kind: 'X', metadata: { name: 'n' }, spec: {} },
        any: { a: { b: 1 } },
      },
    });
  });
});

describe('applyDefaults', () => {
  const schema = compileCrdSchema({
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        default: {},
        properties: {
          a: { type: 'string', default: 'x' },
          n: { type: 'string', nullable: true, default: 'y' },
          o: { type: 'object', properties: { b: { type: 'integer', default: 1 } } },
          l: {
            type: 'array',
            items: { type: 'object', properties: { c: { type: 'boolean', default: false } } },
          },
          plain: { type: 'string' },
        },
      },
    },
  });

  it('fills in defaults, also below what it filled in', () => {
    expect(applyDefaults({}, schema)).toEqual({ spec: { a: 'x', n: 'y' } });
    expect(applyDefaults({ spec: { o: {}, l: [{}, { c: true }] } }, schema)).toEqual({
      spec: { a: 'x', n: 'y', o: { b: 1 }, l: [{ c: false }, { c: true }] },
    });
  });

  it('keeps null where it may be, and takes it for absence elsewhere', () => {
    expect(applyDefaults({ spec: { a: null, n: null, plain: null } }, schema)).toEqual({
      spec: { a: 'x', n: null },
    });
  });

  it('is idempotent and does not share its defaults', () => {
    const once = applyDefaults({}, schema);
    expect(applyDefaults(once, schema)).toBe(once);
    expect((applyDefaults({}, schema) as Record<string, unknown>)['spec']).not.toBe(
      (once as Record<string, unknown>)['spec'],
    );
  });
});

describe('builtinDefaults', () => {
  const template = {
    metadata: { labels: { a: 'b' } },
    spec: { containers: [{ name: 'c', image: 'x', ports: [{ containerPort: 80 }] }] },
  };
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'd' },
    spec: { selector: { matchLabels: { a: 'b' } }, template },
  };

  it('fills in a Deployment as the API does', () => {
    expect(builtinDefaults(deployment)).toEqual({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'd' },
      spec: {
        progressDeadlineSeconds: 600,
        replicas: 1,
        revisionHistoryLimit: 10,
        selector: { matchLabels: { a: 'b' } },
        strategy: { rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' }, type: 'RollingUpdate' },
        template: {
          metadata: { labels: { a: 'b' } },
          spec: {
            containers: [
              {
                name: 'c',
                image: 'x',
                imagePullPolicy: 'Always',
                ports: [{ containerPort: 80, protocol: 'TCP' }],
                resources: {},
                terminationMessagePath: '/dev/termination-log',
                terminationMessagePolicy: 'File',
              },
            ],
            dnsPolicy: 'ClusterFirst',
            restartPolicy: 'Always',
            schedulerName: 'default-scheduler',
            securityContext: {},
            terminationGracePeriodSeconds: 30,
          },
        },
      },
      status: {},
    });
  });

  const kinds: Record<string, unknown>[] = [
    deployment,
    {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 's' },
      spec: { template, volumeClaimTemplates: [{ metadata: { name: 'v' }, spec: {} }] },
    },
    { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name: 's' }, spec: { template } },
    { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'j', uid: 'u' }, spec: { template } },
    {
      apiVersion: 'batch/v1',
      kind: 'CronJob',
      metadata: { name: 'j' },
      spec: { schedule: '* * * * *', jobTemplate: { spec: { template } } },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 's' },
      spec: { ports: [{ port: 80 }], sessionAffinity: 'ClientIP' },
    },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, stringData: { a: 'b' }, data: null },
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'n' } },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'n' },
      spec: { ...template.spec, volumes: [{ name: 'v' }, { name: 's', secret: {} }] },
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: 'r' },
      roleRef: { kind: 'Role', name: 'x' },
      subjects: [{ kind: 'User', name: 'u' }],
    },
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'n' },
      spec: { podSelector: {}, egress: [{}] },
    },
    {
      apiVersion: 'v1',
      kind: 'LimitRange',
      metadata: { name: 'l' },
      spec: { limits: [{ type: 'Container', max: { cpu: 1 } }] },
    },
  ];

  it.each(kinds)('is idempotent for $kind and leaves its input alone', (object) => {
    const before = structuredClone(object);
    const once = builtinDefaults(object);
    expect(builtinDefaults(once)).toEqual(once);
    expect(object).toEqual(before);
  });

  it('writes quantities, times and empty values as a typed server would', () => {
    const object = {
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: {
        name: 'q',
        labels: {},
        annotations: null,
        creationTimestamp: '2024-01-01T02:00:00.5+01:00',
      },
      spec: { hard: { cpu: 0.5, memory: '1.5Gi', pods: 3 } },
    };
    expect(builtinDefaults(object)).toEqual({
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { name: 'q', creationTimestamp: '2024-01-01T01:00:00Z' },
      spec: { hard: { cpu: '500m', memory: '1536Mi', pods: '3' } },
      status: {},
    });
  });

  it('folds stringData into data', () => {
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's' },
      data: { a: 'QQ==' },
      stringData: { b: 'é' },
    };
    expect(builtinDefaults(secret)).toEqual({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's' },
      data: { a: 'QQ==', b: 'w6k=' },
      type: 'Opaque',
    });
  });

  it('does not give a namespace that goes away its finalizer back', () => {
    const gone = {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'n', deletionTimestamp: '2024-01-01T00:00:00Z' },
      spec: {},
    };
    expect(builtinDefaults(gone)).toHaveProperty('spec', {});
  });

  it.each([
    ['nginx', 'Always'],
    ['nginx:latest', 'Always'],
    ['nginx:1', 'IfNotPresent'],
    ['host:5000/nginx', 'Always'],
    ['host:5000/nginx:1', 'IfNotPresent'],
    [`nginx@sha256:${'0'.repeat(64)}`, 'IfNotPresent'],
  ])('pulls %s %s', (image, policy) => {
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p' },
      spec: { containers: [{ name: 'c', image }] },
    };
    expect(builtinDefaults(pod)).toHaveProperty('spec.containers.0.imagePullPolicy', policy);
  });
});

describe('canonicalQuantity', () => {
  it.each([
    ['0.5', '500m'],
    ['1.5Gi', '1536Mi'],
    ['1k', '1k'],
    ['1000', '1k'],
    ['1073741824', '1073741824'],
    ['1000m', '1'],
    ['1024Mi', '1Gi'],
    ['0', '0'],
    ['100m', '100m'],
    ['1e3', '1e3'],
    ['-5', '-5'],
    ['not a quantity', 'not a quantity'],
  ])('%s is %s', (text, canonical) => {
    expect(canonicalQuantity(text)).toBe(canonical);
  });

  it('keeps the amount and is idempotent', () => {
    const suffix = fc.constantFrom('', 'm', 'k', 'Ki', 'M', 'Mi', 'G', 'Gi', 'T', 'Ti');
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.nat(999), suffix, (whole, fraction, unit) => {
        const text = `${whole}.${String(fraction).padStart(3, '0')}${unit}`;
        const canonical = canonicalQuantity(text);
        expect(canonicalQuantity(canonical)).toBe(canonical);
        expect(nanoUnits(canonical)).toBe(nanoUnits(text));
      }),
    );
  });
});
