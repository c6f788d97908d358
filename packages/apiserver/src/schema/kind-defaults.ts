import { isRecord } from '@mural/core';
import { change, type Defaulter, type Fields, fill, sub } from './type-defaults.ts';

const spec =
  (defaulter: Defaulter): Defaulter =>
  (object) =>
    change(object, 'spec', defaulter);

const filledSpec = (defaults: Fields): Defaulter => spec((value) => fill(value, defaults));

const deployment = spec((value) =>
  change(
    fill(value, { replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600 }),
    'strategy',
    (strategy) => rolling(strategy, { maxUnavailable: '25%', maxSurge: '25%' }),
  ),
);

function rolling(strategy: Fields, rollingUpdate: Fields): Fields {
  const typed = fill(strategy, { type: 'RollingUpdate' });
  if (typed['type'] !== 'RollingUpdate') return typed;
  return change(typed, 'rollingUpdate', (value) => fill(value, rollingUpdate));
}

const daemonSet = spec((value) =>
  change(fill(value, { revisionHistoryLimit: 10 }), 'updateStrategy', (strategy) =>
    rolling(strategy, { maxUnavailable: 1, maxSurge: 0 }),
  ),
);

const statefulSet = spec((value) => {
  const filled = fill(value, { replicas: 1, revisionHistoryLimit: 10, podManagementPolicy: 'OrderedReady' });
  const updating = change(filled, 'updateStrategy', (strategy) => rolling(strategy, { partition: 0 }));
  const retaining = change(updating, 'persistentVolumeClaimRetentionPolicy', (policy) =>
    fill(policy, { whenDeleted: 'Retain', whenScaled: 'Retain' }),
  );
  const templates = retaining['volumeClaimTemplates'];
  if (!Array.isArray(templates)) return retaining;
  return {
    ...retaining,
    volumeClaimTemplates: templates.map((template: unknown) =>
      isRecord(template)
        ? claim(fill(template, { apiVersion: 'v1', kind: 'PersistentVolumeClaim' }))
        : template,
    ),
  };
});

function claim(object: Fields): Fields {
  return change(object, 'status', (status) => fill(status, { phase: 'Pending' }));
}

/** A new Job counts one completion; labels and selector are made from its uid. */
function job(object: Fields): Fields {
  const filled = spec((value) => {
    const completions = value['completions'] === undefined && value['parallelism'] === undefined;
    return fill(value, {
      completions: completions ? 1 : undefined,
      parallelism: 1,
      backoffLimit: value['backoffLimitPerIndex'] === undefined ? 6 : 2_147_483_647,
      completionMode: 'NonIndexed',
      suspend: false,
      manualSelector: false,
      podReplacementPolicy: value['podFailurePolicy'] === undefined ? 'TerminatingOrFailed' : 'Failed',
    });
  })(object);
  const metadata = sub(filled, 'metadata');
  const { uid, name } = metadata;
  const value = sub(filled, 'spec');
  if (typeof uid !== 'string' || typeof name !== 'string') return filled;
  if (value['manualSelector'] === true || value['selector'] !== undefined) return filled;
  const labels = {
    'batch.kubernetes.io/controller-uid': uid,
    'batch.kubernetes.io/job-name': name,
    'controller-uid': uid,
    'job-name': name,
  };
  const labelled = (target: Fields): Fields =>
    change(target, 'metadata', (meta) => change(meta, 'labels', (existing) => fill(existing, labels)));
  const selector = { matchLabels: { 'batch.kubernetes.io/controller-uid': uid } };
  return {
    ...labelled(filled),
    spec: { ...value, selector, template: labelled(sub(value, 'template')) },
  };
}

function pod(object: Fields): Fields {
  const filled = spec((value) => fill(requestsFromLimits(value), { enableServiceLinks: true }))(object);
  return change(filled, 'status', (status) =>
    fill(status, { phase: 'Pending', qosClass: qosClass(sub(filled, 'spec')) }),
  );
}

function containersOf(podSpec: Fields): Fields[] {
  return ['initContainers', 'containers'].flatMap((key) => {
    const list = podSpec[key];
    return Array.isArray(list) ? list.filter(isRecord) : [];
  });
}

/** In a pod itself, not in a template, what is limited and not requested is requested as limited. */
function requestsFromLimits(podSpec: Fields): Fields {
  let result = podSpec;
  for (const key of ['initContainers', 'containers']) {
    const list = podSpec[key];
    if (!Array.isArray(list)) continue;
    const containers = (list as unknown[]).map((container) =>
      isRecord(container) && isRecord(sub(container, 'resources')['limits'])
        ? change(container, 'resources', (resources) =>
            change(resources, 'requests', (requests) => fill(requests, sub(resources, 'limits'))),
          )
        : container,
    );
    if (containers.some((container, index) => container !== list[index]))
      result = { ...result, [key]: containers };
  }
  return result;
}

/** Guaranteed, Burstable or BestEffort, by what the containers request and limit. */
function qosClass(podSpec: Fields): string {
  const resources = containersOf(podSpec).map((container) => sub(container, 'resources'));
  const limited = (part: Fields, kind: string, name: string): unknown => sub(part, kind)[name];
  const names = ['cpu', 'memory'];
  const any = resources.some((part) =>
    names.some(
      (name) => limited(part, 'limits', name) !== undefined || limited(part, 'requests', name) !== undefined,
    ),
  );
  if (!any) return 'BestEffort';
  const guaranteed = resources.every((part) =>
    names.every((name) => {
      const limit = limited(part, 'limits', name);
      return limit !== undefined && limit === (limited(part, 'requests', name) ?? limit);
    }),
  );
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

/** Addresses, their families and node ports are given out by who stores the Service. */
const service = spec((value) => {
  const filled = fill(value, { sessionAffinity: 'None', type: 'ClusterIP' });
  const { type } = filled;
  if (type === 'ExternalName') return filled;
  const open = type === 'NodePort' || type === 'LoadBalancer';
  const whole = fill(filled, {
    internalTrafficPolicy: 'Cluster',
    externalTrafficPolicy: open ? 'Cluster' : undefined,
    allocateLoadBalancerNodePorts: type === 'LoadBalancer' ? true : undefined,
  });
  if (whole['sessionAffinity'] !== 'ClientIP') return whole;
  return change(whole, 'sessionAffinityConfig', (config) =>
    change(config, 'clientIP', (client) => fill(client, { timeoutSeconds: 10_800 })),
  );
});

const POLICIES = [
  { periodSeconds: 15, type: 'Pods', value: 4 },
  { periodSeconds: 15, type: 'Percent', value: 100 },
];

const autoscaler = spec((value) => {
  const filled = fill(value, {
    minReplicas: 1,
    metrics: [
      {
        type: 'Resource',
        resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } },
      },
    ],
  });
  if (!isRecord(filled['behavior'])) return filled;
  return change(filled, 'behavior', (behavior) => {
    const up = change(behavior, 'scaleUp', (rules) =>
      fill(rules, { policies: POLICIES, selectPolicy: 'Max', stabilizationWindowSeconds: 0 }),
    );
    return change(up, 'scaleDown', (rules) =>
      fill(rules, { policies: [{ periodSeconds: 15, type: 'Percent', value: 100 }], selectPolicy: 'Max' }),
    );
  });
});

const networkPolicy = spec((value) =>
  fill(value, {
    policyTypes:
      Array.isArray(value['egress']) && value['egress'].length > 0 ? ['Ingress', 'Egress'] : ['Ingress'],
  }),
);

/** The namespace's own name as a label, and the finalizer until it is going away. */
function namespace(object: Fields): Fields {
  const metadata = sub(object, 'metadata');
  const { name } = metadata;
  const label = 'kubernetes.io/metadata.name';
  const named =
    typeof name === 'string' && sub(metadata, 'labels')[label] !== name
      ? { ...object, metadata: { ...metadata, labels: { ...sub(metadata, 'labels'), [label]: name } } }
      : object;
  if (metadata['deletionTimestamp'] !== undefined) return named;
  const phased = change(named, 'status', (status) => fill(status, { phase: 'Active' }));
  return change(phased, 'spec', (value) => fill(value, { finalizers: ['kubernetes'] }));
}

function secret(object: Fields): Fields {
  const { stringData, ...rest } = object;
  const filled = fill(isRecord(stringData) ? rest : object, { type: 'Opaque' });
  if (!isRecord(stringData)) return filled;
  const data: Record<string, unknown> = { ...sub(filled, 'data') };
  for (const [key, value] of Object.entries(stringData)) {
    data[key] = typeof value === 'string' ? Buffer.from(value, 'utf8').toString('base64') : value;
  }
  return { ...filled, data };
}

const definition: Defaulter = (object) => {
  const filled = spec((value) => {
    const names = sub(value, 'names');
    const { kind } = names;
    const named = {
      listKind: typeof kind === 'string' ? `${kind}List` : undefined,
      singular: typeof kind === 'string' ? kind.toLowerCase() : undefined,
    };
    const converting = change(value, 'conversion', (conversion) => fill(conversion, { strategy: 'None' }));
    return change(converting, 'names', (existing) => fill(existing, named));
  })(object);
  const { versions } = sub(filled, 'spec');
  const stored = Array.isArray(versions)
    ? versions.filter(isRecord).find((version) => version['storage'] === true)?.['name']
    : undefined;
  return change(filled, 'status', (status) =>
    fill(status, { storedVersions: typeof stored === 'string' ? [stored] : undefined }),
  );
};

/** Defaults that belong to a kind at the root of an object. */
export const KIND_DEFAULTS: Readonly<Record<string, Defaulter | undefined>> = {
  'apps/v1 Deployment': deployment,
  'apps/v1 DaemonSet': daemonSet,
  'apps/v1 StatefulSet': statefulSet,
  'apps/v1 ReplicaSet': filledSpec({ replicas: 1 }),
  'v1 ReplicationController': replicationController,
  'batch/v1 Job': job,
  'batch/v1 CronJob': filledSpec({
    concurrencyPolicy: 'Allow',
    suspend: false,
    successfulJobsHistoryLimit: 3,
    failedJobsHistoryLimit: 1,
  }),
  'rbac.authorization.k8s.io/v1 Role': (object) => fill(object, { rules: null }),
  'rbac.authorization.k8s.io/v1 ClusterRole': (object) => fill(object, { rules: null }),
  'discovery.k8s.io/v1 EndpointSlice': (object) => fill(object, { endpoints: null, ports: null }),
  'v1 Pod': pod,
  'v1 Service': service,
  'v1 Namespace': namespace,
  'v1 Secret': secret,
  'v1 PersistentVolumeClaim': claim,
  'v1 PersistentVolume': (object) => change(object, 'status', (status) => fill(status, { phase: 'Pending' })),
  'autoscaling/v2 HorizontalPodAutoscaler': autoscaler,
  'autoscaling/v1 HorizontalPodAutoscaler': filledSpec({ minReplicas: 1 }),
  'networking.k8s.io/v1 NetworkPolicy': networkPolicy,
  'storage.k8s.io/v1 StorageClass': (object) =>
    fill(object, { reclaimPolicy: 'Delete', volumeBindingMode: 'Immediate' }),
  'storage.k8s.io/v1 CSIDriver': filledSpec({
    attachRequired: true,
    podInfoOnMount: false,
    storageCapacity: false,
    fsGroupPolicy: 'ReadWriteOnceWithFSType',
    volumeLifecycleModes: ['Persistent'],
    requiresRepublish: false,
    seLinuxMount: false,
  }),
  'scheduling.k8s.io/v1 PriorityClass': (object) =>
    fill(object, { preemptionPolicy: 'PreemptLowerPriority', value: 0 }),
  'apiextensions.k8s.io/v1 CustomResourceDefinition': definition,
};

/** A controller without a selector selects what its template is labelled with. */
function replicationController(object: Fields): Fields {
  const value = sub(object, 'spec');
  const labels = sub(sub(sub(value, 'template'), 'metadata'), 'labels');
  const given = Object.keys(labels).length > 0 ? labels : undefined;
  const metadata = sub(object, 'metadata');
  const labelled = given === undefined ? object : { ...object, metadata: fill(metadata, { labels: given }) };
  return change(labelled, 'spec', (existing) => fill(existing, { replicas: 1, selector: given }));
}
