import { z } from 'zod';

const Condition = z.strictObject({
  type: z
    .string()
    .max(316)
    .regex(
      /^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$/,
    ),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: z
    .string()
    .min(1)
    .max(1024)
    .regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/),
  message: z.string().max(32_768),
  lastTransitionTime: z.iso.datetime(),
  observedGeneration: z.number().int().min(0).optional(),
});

const Common = {
  observedGeneration: z.number().int().optional(),
  conditions: z.array(Condition).optional(),
  lastHandledReconcileAt: z.string().optional(),
};

/** Status of source.toolkit.fluxcd.io/v1 OCIRepository. */
export const OCIRepositoryStatusSchema = z.strictObject({
  ...Common,
  url: z.string().optional(),
  artifact: z
    .strictObject({
      digest: z
        .string()
        .regex(/^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$/)
        .optional(),
      path: z.string(),
      url: z.string(),
      revision: z.string(),
      lastUpdateTime: z.iso.datetime(),
      size: z.number().int().optional(),
      metadata: z.record(z.string(), z.string()).optional(),
    })
    .optional(),
  observedIgnore: z.string().optional(),
  observedLayerSelector: z
    .strictObject({ mediaType: z.string().optional(), operation: z.enum(['extract', 'copy']).optional() })
    .optional(),
});

/** Status of kustomize.toolkit.fluxcd.io/v1 Kustomization. */
export const KustomizationStatusSchema = z.strictObject({
  ...Common,
  lastAppliedRevision: z.string().optional(),
  lastAppliedOriginRevision: z.string().optional(),
  lastAttemptedRevision: z.string().optional(),
  inventory: z
    .strictObject({ entries: z.array(z.strictObject({ id: z.string(), v: z.string() })) })
    .optional(),
  history: z
    .array(
      z.strictObject({
        digest: z.string(),
        firstReconciled: z.iso.datetime(),
        lastReconciled: z.iso.datetime(),
        lastReconciledDuration: z.string(),
        lastReconciledStatus: z.string(),
        totalReconciliations: z.number().int(),
        metadata: z.record(z.string(), z.string()).optional(),
      }),
    )
    .optional(),
});
