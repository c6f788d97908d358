import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { parseArgs } from 'node:util';
import {
  createKubeClient,
  DEPLOYMENTS,
  type KubeClient,
  loadKubeConfig,
  PODS,
  type UnstructuredObject,
} from '@mural/kube';
import { parse, parseAllDocuments } from 'yaml';

/**
 * The few commands of kubectl that the demo uses, where the machine has none: `apply --filename F`,
 * `get RESOURCE [NAME]` with the API's own table, `logs deployment/NAME`.
 */
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    filename: { type: 'string' },
    namespace: { type: 'string', default: 'default' },
    output: { type: 'string' },
  },
});
const [command, ...rest] = positionals;
const kubeconfig = process.env['KUBECONFIG'] ?? '';
const { namespace } = options;

async function apply(client: KubeClient, file: string): Promise<void> {
  for (const document of parseAllDocuments(readFileSync(file, 'utf8'))) {
    const object = document.toJS() as UnstructuredObject | null;
    if (object === null) continue;
    const resource = await client.resourceFor(object.apiVersion, object.kind);
    if (resource === undefined)
      throw new Error(`no matches for kind "${object.kind}" in version "${object.apiVersion}"`);
    const scope = resource.namespaced ? { namespace: object.metadata.namespace ?? namespace } : {};
    const scoped = { ...object, metadata: { ...object.metadata, ...scope } };
    await client.apply(resource, scoped, { fieldManager: 'kubectl', force: true });
    const kind = resource.group === '' ? '' : `.${resource.group}`;
    console.log(`${resource.kind.toLowerCase()}${kind}/${object.metadata.name ?? ''} serverside-applied`);
  }
}

async function logs(client: KubeClient, of: string): Promise<void> {
  const [kind, name = ''] = of.split('/');
  if (kind !== 'deployment') throw new Error('this prints the log of deployment/NAME and nothing else');
  const deployment = await client.get<UnstructuredObject>(DEPLOYMENTS, { name, namespace });
  const spec = deployment['spec'] as { selector: { matchLabels: Record<string, string> } };
  const labelSelector = Object.entries(spec.selector.matchLabels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
  const { items } = await client.list<UnstructuredObject>(PODS, { namespace, labelSelector });
  const pod = items[0]?.metadata.name ?? '';
  process.stdout.write(await client.raw(`/api/v1/namespaces/${namespace}/pods/${pod}/log`));
}

interface Table {
  readonly columnDefinitions: readonly {
    readonly name: string;
    readonly priority: number;
    readonly type: string;
  }[];
  readonly rows: readonly { readonly cells: readonly (string | number | boolean | null)[] }[];
}

/** A list or an object as the API presents it to kubectl. */
async function get(client: KubeClient, type: string, name: string | undefined): Promise<void> {
  const path = await pathOf(client, type);
  const { columnDefinitions: columns, rows } = await table(name === undefined ? path : `${path}/${name}`);
  const shown = columns.flatMap((column, index) => (column.priority === 0 ? [{ ...column, index }] : []));
  const lines = [
    shown.map((column) => column.name.toUpperCase()),
    ...rows.map(({ cells }) => shown.map(({ index, type: kind }) => cellOf(cells[index], kind))),
  ];
  const widths = shown.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  for (const line of lines) {
    console.log(
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('   ')
        .trimEnd(),
    );
  }
}

/** The API sends dates of custom columns as they are; kubectl makes ages of them. */
function cellOf(cell: string | number | boolean | null | undefined, kind: string): string {
  if (kind !== 'date' || typeof cell !== 'string' || Number.isNaN(Date.parse(cell)))
    return String(cell ?? '');
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(cell)) / 1000));
  return seconds < 120 ? `${seconds}s` : `${Math.floor(seconds / 60)}m`;
}

interface ResourceList {
  readonly resources: readonly {
    readonly name: string;
    readonly singularName: string;
    readonly kind: string;
    readonly namespaced: boolean;
  }[];
}

async function pathOf(client: KubeClient, type: string): Promise<string> {
  const { groups } = JSON.parse(await client.raw('/apis')) as {
    readonly groups: readonly { readonly preferredVersion: { readonly groupVersion: string } }[];
  };
  const bases = [
    '/api/v1',
    ...groups.map(({ preferredVersion }) => `/apis/${preferredVersion.groupVersion}`),
  ];
  for (const base of bases) {
    const { resources } = JSON.parse(await client.raw(base)) as ResourceList;
    const found = resources.find(({ name, singularName }) => [name, singularName].includes(type));
    if (found !== undefined)
      return found.namespaced ? `${base}/namespaces/${namespace}/${found.name}` : `${base}/${found.name}`;
  }
  throw new Error(`the server doesn't have a resource type "${type}"`);
}

interface Kubeconfig {
  readonly clusters: readonly {
    readonly cluster: { readonly server: string; readonly 'certificate-authority-data': string };
  }[];
  readonly users: readonly { readonly user: { readonly token: string } }[];
}

/** Asks for a Table, which is what kubectl prints. */
async function table(path: string): Promise<Table> {
  const { clusters, users } = parse(readFileSync(kubeconfig, 'utf8')) as Kubeconfig;
  const { server = '', 'certificate-authority-data': ca = '' } = clusters[0]?.cluster ?? {};
  const agent = new Agent({ ca: Buffer.from(ca, 'base64') });
  const headers = {
    accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
    authorization: `Bearer ${users[0]?.user.token ?? ''}`,
  };
  const sent = request(new URL(path, server), { agent, headers }).end();
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of answer as AsyncIterable<Buffer>) chunks.push(chunk);
  const body = JSON.parse(Buffer.concat(chunks).toString()) as Table & { readonly message?: string };
  if (answer.statusCode !== 200) throw new Error(body.message ?? `HTTP ${answer.statusCode ?? 0}`);
  return body;
}

const client = createKubeClient(await loadKubeConfig({ path: kubeconfig }));
try {
  if (command === 'apply') await apply(client, options.filename ?? '');
  else if (command === 'logs') await logs(client, rest[0] ?? '');
  else if (command === 'get') await get(client, rest[0] ?? '', rest[1]);
  else throw new Error(`this knows no ${command ?? 'command'}`);
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await client.close();
}
