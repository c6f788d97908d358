/** What the API, or the way to it, said instead of an answer. `status` is 0 when nobody answered. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
  }
}

const DEADLINE_MS = 10_000;
/** Objects asked for at once. The page says so when there are more. */
const LIMIT = 1000;
const MURAL = '/apis/mural.dev/v1alpha1';

/** The fleet: spokes and workload deployments, and whether either has more than was asked for. */
export async function readFleet(token, signal) {
  const [spokes, deployments] = await Promise.all([
    get(`${MURAL}/spokes?limit=${LIMIT}`, token, signal),
    get(`${MURAL}/workloaddeployments?limit=${LIMIT}`, token, signal),
  ]);
  return {
    spokes: spokes.items ?? [],
    deployments: deployments.items ?? [],
    truncated: [spokes, deployments].some((list) => Boolean(list.metadata?.continue)),
  };
}

/** Events about one workload deployment. */
export async function readEvents(namespace, name, token, signal) {
  const selector = `involvedObject.kind=WorkloadDeployment,involvedObject.name=${name}`;
  const query = new URLSearchParams({ fieldSelector: selector, limit: '200' });
  const list = await get(
    `/api/v1/namespaces/${encodeURIComponent(namespace)}/events?${query}`,
    token,
    signal,
  );
  return list.items ?? [];
}

async function get(path, token, signal) {
  let response;
  let text;
  try {
    response = await fetch(path, {
      headers: { accept: 'application/json', authorization: `Bearer ${token}` },
      credentials: 'omit',
      cache: 'no-store',
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]),
    });
    text = await response.text();
  } catch (error) {
    if (signal.aborted) throw error;
    const late = error instanceof DOMException && error.name === 'TimeoutError';
    throw new ApiError(0, late ? 'the hub did not answer in time' : 'the hub cannot be reached');
  }
  const body = parse(text);
  if (!response.ok) throw new ApiError(response.status, body?.message ?? `HTTP status ${response.status}`);
  if (body === undefined) throw new ApiError(response.status, 'the hub answered something that is not JSON');
  return body;
}

function parse(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
