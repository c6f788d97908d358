/** What the tests know of `model.js`, which browsers get as it is. */
type Status = 'True' | 'False' | 'Unknown';
type Objects = readonly Readonly<Record<string, unknown>>[];

interface Condition {
  readonly status: Status;
  readonly reason: string;
  readonly message: string;
}
interface DeploymentHead {
  readonly namespace: string;
  readonly name: string;
  readonly link: string;
  readonly profile: string;
  readonly environment: string;
  readonly suspended: boolean;
  readonly deleting: boolean;
  readonly summary: string;
  readonly ready: Condition;
}
export interface SpokeRow {
  readonly name: string;
  readonly labels: readonly string[];
  readonly ready: Condition;
  readonly suspended: boolean;
  readonly lastSeen: string | undefined;
  readonly workloads: { readonly ready: number; readonly total: number; readonly current: boolean };
}
export interface Detail extends DeploymentHead {
  readonly spokes: readonly {
    readonly name: string;
    readonly revision: Revision;
    readonly tag: string;
    readonly objects: number | undefined;
    readonly ready: Status;
    readonly health: Health;
    readonly message: string;
    readonly lastSeen: string | undefined;
  }[];
  readonly conditions: readonly (Condition & {
    readonly type: string;
    readonly since: string | undefined;
  })[];
}
interface Revision {
  readonly applied: string;
  readonly wanted: string;
}
interface Health {
  readonly status: Status | 'None';
  readonly reason: string;
}
export interface EventRow {
  readonly id: string;
  readonly time: string | undefined;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
  readonly count: number;
  readonly source: string;
}

export function routeOf(
  fragment: string,
):
  | { readonly view: 'fleet' }
  | { readonly view: 'workload'; readonly namespace: string; readonly name: string };
export function workloadLink(namespace: string, name: string): string;
export function tokenOfFragment(fragment: string): string | undefined;
export function readToken(text: string): { readonly token?: string; readonly problem?: string };
export function describeProblem(failure: { readonly status: number; readonly message: string }): {
  readonly title: string;
  readonly text: string;
};
export function spokeRows(spokes: Objects): SpokeRow[];
export function deploymentRows(deployments: Objects): DeploymentHead[];
export function deploymentDetail(
  fleet: { readonly spokes: Objects; readonly deployments: Objects },
  namespace: string,
  name: string,
): Detail | undefined;
export function healthOf(
  entry: { readonly healthy?: string; readonly healthReason?: string },
  silent?: boolean,
): Health;
export function revisionOf(entry: { readonly digest?: string; readonly appliedDigest?: string }): Revision;
export function shortDigest(digest: string | undefined): string;
export function eventRows(events: Objects, most?: number): EventRow[];
export function tally(rows: readonly { readonly ready: { readonly status: Status } }[]): {
  readonly total: number;
  readonly ready: number;
  readonly failed: number;
  readonly unknown: number;
};
export function ago(time: string | undefined, now: number): string;
export function sentence(text: string): string;
