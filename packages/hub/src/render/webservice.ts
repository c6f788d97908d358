import type { UnstructuredObject } from '@mural/kube';
import { z } from 'zod';
import { parseProperties } from './properties.ts';
import type { ComponentInput, RenderedObject } from './types.ts';

const Port = z.number().int().min(1).max(65_535);
const Quantities = z.record(z.string(), z.union([z.string(), z.number()]));
const NamedPort = z.strictObject({
  name: z.string().max(15).optional(),
  port: Port.describe('Port of the Service.'),
  targetPort: Port.optional().describe('Port of the container; the same unless given.'),
  protocol: z.enum(['TCP', 'UDP', 'SCTP']).optional(),
});

/**
 * Properties of a component of type `webservice`: a design of our own for the common case of one
 * container that serves a port.
 */
export const WebserviceProperties = z.strictObject({
  image: z.string().min(1),
  imagePullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).optional(),
  replicas: z.number().int().min(0).optional().default(1),
  port: Port.optional().describe('The only port, when there is one.'),
  ports: z.array(NamedPort).optional(),
  env: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  resources: z.strictObject({ requests: Quantities.optional(), limits: Quantities.optional() }).optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  serviceAccountName: z.string().optional(),
  healthPath: z
    .string()
    .startsWith('/')
    .optional()
    .describe('Path that answers 200 when the service can serve.'),
  runAsRoot: z.boolean().optional().describe('Lets the image run as root; it may not unless given.'),
  host: z.string().optional().describe('Host name to reach the first port by, through an Ingress.'),
});
type Webservice = z.output<typeof WebserviceProperties>;
type NamedPorts = readonly z.output<typeof NamedPort>[];

/** Renders a Deployment, a Service when there are ports and an Ingress when there is a host. */
export async function renderWebservice(input: ComponentInput): Promise<readonly RenderedObject[]> {
  const { component, evaluator, variables } = input;
  const evaluated = evaluator.evaluate(component.properties ?? {}, 'properties');
  const properties = parseProperties(WebserviceProperties, evaluated, component);
  const ports = [
    ...(properties.port === undefined ? [] : [{ port: properties.port }]),
    ...(properties.ports ?? []),
  ];
  const selector = {
    'app.kubernetes.io/name': component.name,
    'app.kubernetes.io/instance': variables.deployment.name,
  };
  const metadata = {
    name: component.name,
    labels: { ...properties.labels, ...selector, 'app.kubernetes.io/managed-by': 'mural' },
    ...(properties.annotations === undefined ? {} : { annotations: properties.annotations }),
  };
  const objects: UnstructuredObject[] = [deployment(properties, ports, metadata, selector)];
  if (ports.length > 0) objects.push(service(ports, metadata, selector));
  if (properties.host !== undefined && ports[0] !== undefined) {
    objects.push(ingress(properties.host, ports[0].port, metadata));
  }
  return objects.map((object) => ({ object, where: `${object.kind} of the webservice` }));
}

type Metadata = UnstructuredObject['metadata'];

function deployment(
  properties: Webservice,
  ports: NamedPorts,
  metadata: Metadata,
  selector: Readonly<Record<string, string>>,
): UnstructuredObject {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata,
    spec: {
      replicas: properties.replicas,
      selector: { matchLabels: selector },
      template: {
        metadata: { labels: { ...properties.labels, ...selector } },
        spec: {
          ...(properties.serviceAccountName === undefined
            ? { automountServiceAccountToken: false }
            : { serviceAccountName: properties.serviceAccountName }),
          securityContext: {
            ...(properties.runAsRoot === true ? {} : { runAsNonRoot: true }),
            seccompProfile: { type: 'RuntimeDefault' },
          },
          containers: [container(properties, ports, metadata.name ?? '')],
        },
      },
    },
  };
}

function container(properties: Webservice, ports: NamedPorts, name: string): Record<string, unknown> {
  const first = ports[0];
  const probe =
    properties.healthPath === undefined || first === undefined
      ? undefined
      : { httpGet: { path: properties.healthPath, port: first.targetPort ?? first.port } };
  return {
    name,
    image: properties.image,
    imagePullPolicy: properties.imagePullPolicy,
    command: properties.command,
    args: properties.args,
    env: environmentVariables(properties.env),
    ports:
      ports.length === 0
        ? undefined
        : ports.map((port) => ({
            name: portName(port),
            containerPort: port.targetPort ?? port.port,
            protocol: port.protocol ?? 'TCP',
          })),
    resources: properties.resources,
    readinessProbe: probe,
    livenessProbe: probe === undefined ? undefined : { ...probe, initialDelaySeconds: 10 },
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
  };
}

function environmentVariables(env: Webservice['env']): unknown {
  if (env === undefined) return undefined;
  return Object.keys(env)
    .sort()
    .map((name) => ({ name, value: String(env[name]) }));
}

function service(
  ports: NamedPorts,
  metadata: Metadata,
  selector: Readonly<Record<string, string>>,
): UnstructuredObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata,
    spec: {
      selector,
      ports: ports.map((port) => ({
        name: portName(port),
        port: port.port,
        targetPort: port.targetPort ?? port.port,
        protocol: port.protocol ?? 'TCP',
      })),
    },
  };
}

function ingress(host: string, port: number, metadata: Metadata): UnstructuredObject {
  const backend = { service: { name: metadata.name, port: { number: port } } };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata,
    spec: { rules: [{ host, http: { paths: [{ path: '/', pathType: 'Prefix', backend }] } }] },
  };
}

function portName(port: NamedPorts[number]): string {
  return port.name ?? `port-${port.port}`;
}
