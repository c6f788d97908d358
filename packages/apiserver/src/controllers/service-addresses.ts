import type { Random } from '@mural/core';
import type { Stored } from '../objects.ts';
import { compact, dig, digList, digString, digStrings } from '../objects.ts';
import type { FieldError } from '../schema/index.ts';
import { ApiError, invalid } from '../status.ts';
import type { Transaction } from '../storage/store.ts';

const SERVICES = { group: '', kind: 'Service' };
/** Addresses of Services come from 10.96.0.0/16; ports of nodes from the usual range. */
const PREFIX = '10.96.';
const FIRST_PORT = 30_000;
const LAST_PORT = 32_767;

/** A Service with the addresses and node ports that its type asks for; those that it has, it keeps. */
export function addressed(
  service: Stored,
  before: Stored | undefined,
  transaction: Transaction,
  random: Random,
): Stored {
  const type = digString(service, 'spec', 'type') || 'ClusterIP';
  if (type === 'ExternalName') return service;
  const others = transaction.list('services').filter((other) => other.metadata.uid !== service.metadata.uid);
  const spec = { ...(service['spec'] as Record<string, unknown>) };
  const kept = digString(before, 'spec', 'clusterIP');
  const clusterIP = digString(spec, 'clusterIP') || kept || freeAddress(others, random);
  checkAddress(service, before, clusterIP, others);
  const given = digStrings(spec, 'clusterIPs');
  const families = {
    ipFamilies: spec['ipFamilies'] ?? ['IPv4'],
    ipFamilyPolicy: spec['ipFamilyPolicy'] ?? 'SingleStack',
  };
  const ports = type === 'ClusterIP' ? spec['ports'] : withNodePorts(service, before, others);
  return {
    ...service,
    spec: compact({
      ...spec,
      ...families,
      clusterIP,
      clusterIPs: given[0] === clusterIP ? given : [clusterIP],
      ports,
    }),
  };
}

function checkAddress(
  service: Stored,
  before: Stored | undefined,
  address: string,
  others: readonly Stored[],
): void {
  const kept = digString(before, 'spec', 'clusterIP');
  if (address !== 'None' && address !== kept) checkFree(service, address, others);
  if (kept === '' || kept === address || digString(before, 'spec', 'type') === 'ExternalName') return;
  throw invalid(SERVICES, service.metadata.name ?? '', [
    { field: 'spec.clusterIPs[0]', type: 'Invalid', detail: 'may not change once set', badValue: [address] },
  ]);
}

function checkFree(service: Stored, address: string, others: readonly Stored[]): void {
  if (!others.some((other) => digString(other, 'spec', 'clusterIP') === address)) return;
  throw invalid(SERVICES, service.metadata.name ?? '', [
    {
      field: 'spec.clusterIPs',
      type: 'Invalid',
      detail: 'failed to allocate IP ' + address + ': provided IP is already allocated',
      badValue: [address],
    },
  ]);
}

function freeAddress(others: readonly Stored[], random: Random): string {
  const taken = new Set(others.map((other) => digString(other, 'spec', 'clusterIP')));
  const start = Math.floor(random() * 65_000);
  for (let offset = 0; offset < 65_000; offset += 1) {
    const number = ((start + offset) % 65_000) + 10;
    const address = `${PREFIX}${number >> 8}.${number & 255}`;
    if (!taken.has(address)) return address;
  }
  throw new ApiError('InternalError', 'no address for a Service is left');
}

function withNodePorts(service: Stored, before: Stored | undefined, others: readonly Stored[]): unknown[] {
  const old = digList(before, 'spec', 'ports');
  const taken = new Set(
    others.flatMap((other) => digList(other, 'spec', 'ports').map((port) => dig(port, 'nodePort'))),
  );
  if (dig(service, 'spec', 'allocateLoadBalancerNodePorts') === false)
    return [...digList(service, 'spec', 'ports')];
  return digList(service, 'spec', 'ports').map((port, index) => {
    const asked = dig(port, 'nodePort');
    if (typeof asked === 'number' && asked > 0) {
      if (taken.has(asked)) throw portTaken(service, index, asked);
      taken.add(asked);
      return port;
    }
    const same = old.find(
      (one) => dig(one, 'port') === dig(port, 'port') && dig(one, 'protocol') === dig(port, 'protocol'),
    );
    const kept = dig(same, 'nodePort');
    const nodePort = typeof kept === 'number' && !taken.has(kept) ? kept : freePort(taken);
    taken.add(nodePort);
    return { ...(port as object), nodePort };
  });
}

function freePort(taken: ReadonlySet<unknown>): number {
  for (let port = FIRST_PORT; port <= LAST_PORT; port += 1) if (!taken.has(port)) return port;
  throw new ApiError('InternalError', 'no node port for a Service is left');
}

function portTaken(service: Stored, index: number, port: number): ApiError {
  const error: FieldError = {
    field: `spec.ports[${index}].nodePort`,
    type: 'Invalid',
    detail: 'provided port is already allocated',
    badValue: port,
  };
  return invalid(SERVICES, service.metadata.name ?? '', [error]);
}
