/*
 * From objects of the API to what the page says. Pure: no document, no network, no clock.
 */

/** The fragment as a place within the page. An unknown one is the fleet. */
export function routeOf(fragment) {
  const match = /^#\/workloads\/([^/]+)\/([^/]+)$/.exec(fragment);
  if (match === null) return { view: 'fleet' };
  try {
    return { view: 'workload', namespace: decodeURIComponent(match[1]), name: decodeURIComponent(match[2]) };
  } catch {
    return { view: 'fleet' };
  }
}

/** The fragment that leads to a workload deployment. */
export function workloadLink(namespace, name) {
  return `#/workloads/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
}

/** The token that a link `#token=…` brings, if it is one. */
export function tokenOfFragment(fragment) {
  if (!fragment.startsWith('#token=')) return undefined;
  try {
    return decodeURIComponent(fragment.slice('#token='.length).split('&', 1)[0]);
  } catch {
    return '';
  }
}

/**
 * A bearer token as a person pastes it: `{ token }`, or `{ problem }` with what is wrong with it.
 * The characters are those of RFC 6750 §2.1; anything else cannot be a token.
 */
export function readToken(text) {
  const token = text.trim().replace(/^Bearer\s+/i, '');
  if (token === '') return { problem: 'Paste the token first.' };
  if (token.length > 16_384) return { problem: 'This is too long for a token.' };
  if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token)) {
    return { problem: 'This is not a bearer token: it holds characters that no token has.' };
  }
  return { token };
}

/** What a page without data says of a failure: the heading and one sentence. */
export function describeProblem({ status, message }) {
  if (status === 401) {
    return { title: 'Not signed in', text: `The hub did not accept this token (401: ${message}).` };
  }
  if (status === 403) {
    return { title: 'Not allowed', text: `The token is valid, but it may not see the fleet: ${message}` };
  }
  if (status === 404) {
    return { title: 'No fleet here', text: 'This API does not know spokes and workloads of mural.' };
  }
  return { title: 'No answer', text: `${sentence(message)}` };
}

/** A condition as the page shows it; without one nothing is claimed. */
function conditionOf(object, type) {
  const found = (object.status?.conditions ?? []).find((condition) => condition.type === type);
  const { status, reason = '', message = '' } = found ?? {};
  return { status: asStatus(status), reason, message };
}

/** Spokes as rows, by name. */
export function spokeRows(spokes) {
  return [...spokes].sort(byName).map((spoke) => {
    const workloads = spoke.status?.workloads ?? [];
    return {
      name: spoke.metadata.name ?? '',
      labels: Object.entries(spoke.metadata.labels ?? {})
        .map(([key, value]) => (value === '' ? key : `${key}=${value}`))
        .sort(),
      ready: spokeReady(spoke),
      suspended: spoke.spec?.suspend === true,
      lastSeen: spoke.status?.lastHeartbeatTime,
      workloads: {
        ready: workloads.filter((workload) => workload.ready === 'True').length,
        total: workloads.length,
        // What a silent spoke said last is no statement about now.
        current: !isSilent(spoke),
      },
    };
  });
}

function spokeReady(spoke) {
  const ready = conditionOf(spoke, 'Ready');
  if (ready.message !== '' || spoke.status?.lastHeartbeatTime !== undefined) return ready;
  return { ...ready, reason: ready.reason || 'NotJoined', message: 'the spoke has not joined yet' };
}

/** Whether the hub stopped hearing from a spoke, or never did. */
function isSilent(spoke) {
  if (spoke?.status?.lastHeartbeatTime === undefined) return true;
  const ready = conditionOf(spoke, 'Ready');
  return ready.status === 'Unknown' && ready.reason === 'HeartbeatMissed';
}

/** Workload deployments as rows, by namespace and name. */
export function deploymentRows(deployments) {
  return [...deployments].sort(byName).map((deployment) => ({
    ...deploymentHead(deployment),
    summary: summaryOf(deployment),
    ready: deploymentReady(deployment),
  }));
}

function deploymentHead(deployment) {
  const { namespace = '', name = '' } = deployment.metadata;
  return {
    namespace,
    name,
    link: workloadLink(namespace, name),
    profile: deployment.spec?.profileRef?.name ?? '',
    environment: deployment.spec?.environmentRef?.name ?? '',
    suspended: deployment.spec?.suspend === true,
    deleting: deployment.metadata.deletionTimestamp !== undefined,
  };
}

/** Spokes that are ready, of those chosen; nothing while the hub has not counted. */
function summaryOf(deployment) {
  const { summary, spokes } = deployment.status ?? {};
  if (summary !== undefined) return summary;
  if (spokes === undefined) return '–';
  return `${spokes.filter((spoke) => spoke.ready === 'True').length}/${spokes.length}`;
}

/** The Ready condition, unless it is about an older state of the object. */
function deploymentReady(deployment) {
  const ready = conditionOf(deployment, 'Ready');
  const { generation } = deployment.metadata;
  const observed = deployment.status?.observedGeneration;
  if (observed === undefined || (generation !== undefined && observed < generation)) {
    const message = ready.message || 'the hub has not seen the latest change yet';
    return { ...ready, status: ready.status === 'False' ? 'False' : 'Unknown', message };
  }
  return ready;
}

/** Everything the page says of one workload deployment; nothing if there is none. */
export function deploymentDetail(fleet, namespace, name) {
  const deployment = fleet.deployments.find(
    ({ metadata }) => metadata.namespace === namespace && metadata.name === name,
  );
  if (deployment === undefined) return undefined;
  const spokeOf = new Map(fleet.spokes.map((spoke) => [spoke.metadata.name, spoke]));
  return {
    ...deploymentHead(deployment),
    summary: summaryOf(deployment),
    ready: deploymentReady(deployment),
    spokes: (deployment.status?.spokes ?? []).map((entry) => spokeEntry(entry, spokeOf.get(entry.name))),
    conditions: (deployment.status?.conditions ?? []).map((condition) => ({
      type: condition.type,
      status: asStatus(condition.status),
      reason: condition.reason ?? '',
      message: condition.message ?? '',
      since: condition.lastTransitionTime,
    })),
  };
}

function spokeEntry(entry, spoke) {
  const silent = isSilent(spoke);
  const reported = asStatus(entry.ready);
  return {
    name: entry.name,
    revision: revisionOf(entry),
    tag: entry.tag ?? '',
    objects: entry.objects,
    // What a silent spoke reported last is kept as a note; of now nothing is known.
    ready: silent && reported === 'True' ? 'Unknown' : reported,
    health: healthOf(entry, silent),
    message: silent && reported === 'True' ? 'was ready when it was last seen' : messageOf(entry, reported),
    lastSeen: spoke?.status?.lastHeartbeatTime,
  };
}

function messageOf(entry, reported) {
  if (reported === 'True') return '';
  return entry.message ?? entry.reason ?? '';
}

/** `{ status, reason }`: health as the spoke reports it. Unknown stays unknown, with the reason. */
export function healthOf({ healthy, healthReason = '' }, silent = false) {
  if (healthy === undefined) return { status: 'None', reason: '' };
  if (silent && healthy === 'True') return { status: 'Unknown', reason: 'HeartbeatMissed' };
  return { status: asStatus(healthy), reason: healthy === 'True' ? '' : healthReason };
}

/** What is applied, and what is on its way when that is something else. */
export function revisionOf({ digest, appliedDigest }) {
  if (appliedDigest === undefined || appliedDigest === '') {
    return { applied: '', wanted: shortDigest(digest) };
  }
  const wanted = digest === undefined || digest === appliedDigest ? '' : shortDigest(digest);
  return { applied: shortDigest(appliedDigest), wanted };
}

/** The first twelve hexadecimal digits of a digest, enough to tell revisions apart. */
export function shortDigest(digest) {
  if (digest === undefined || digest === '') return '';
  const colon = digest.indexOf(':');
  return digest.slice(colon + 1, colon + 13);
}

/** Events as rows, the latest first. */
export function eventRows(events, most = 20) {
  return events
    .map((event) => ({
      id: event.metadata?.uid ?? event.metadata?.name ?? '',
      time: event.series?.lastObservedTime ?? event.lastTimestamp ?? event.eventTime ?? event.firstTimestamp,
      type: event.type === 'Warning' ? 'Warning' : 'Normal',
      reason: event.reason ?? '',
      message: event.message ?? event.note ?? '',
      count: event.series?.count ?? event.count ?? 1,
      source: event.source?.component || event.reportingComponent || '',
    }))
    .sort((a, b) => timeOf(b.time) - timeOf(a.time))
    .slice(0, most);
}

/** How many are ready, are not, and of how many nobody knows. */
export function tally(rows) {
  const count = (status) => rows.filter(({ ready }) => ready.status === status).length;
  return { total: rows.length, ready: count('True'), failed: count('False'), unknown: count('Unknown') };
}

/** How long ago: `12 s ago`, `5 min ago`, `3 h ago`, `8 d ago`. What lies ahead is `now`: clocks differ. */
export function ago(time, now) {
  const seconds = Math.floor((now - timeOf(time)) / 1000);
  if (seconds < 1) return 'now';
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** The words of a message as a sentence. */
export function sentence(text) {
  const trimmed = text.trim();
  if (trimmed === '') return '';
  const start = trimmed[0].toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(start) ? start : `${start}.`;
}

function asStatus(status) {
  return status === 'True' || status === 'False' ? status : 'Unknown';
}

function timeOf(time) {
  const value = Date.parse(time ?? '');
  return Number.isNaN(value) ? 0 : value;
}

function byName(a, b) {
  const key = ({ metadata }) => `${metadata.namespace ?? ''}/${metadata.name ?? ''}`;
  const [left, right] = [key(a), key(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}
