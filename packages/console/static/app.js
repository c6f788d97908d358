import { ApiError, readEvents, readFleet } from './api.js';
import { show } from './dom.js';
import { describeProblem, readToken, routeOf, tokenOfFragment } from './model.js';
import { failure, fleetView, header, loading, refreshAges, signIn, workloadView } from './view.js';

const TOKEN = 'mural.token';
const POLL_MS = 2000;
const MAX_POLL_MS = 30_000;

const top = document.querySelector('#top');
const main = document.querySelector('#main');
const announcer = document.querySelector('#announcer');

/** Everything the page is made from. */
const state = {
  /** signin, loading, live or stale; `failed` when there is nothing to show but the problem. */
  phase: 'signin',
  route: { view: 'fleet' },
  fleet: undefined,
  events: undefined,
  updatedAt: undefined,
  problem: undefined,
  signInProblem: undefined,
};

/** What is going on for the token that is signed in; ended by signing out. */
let session = new AbortController();
/** Ends the wait for the next look. */
let wake = () => undefined;
let rendered = '';

function render() {
  const { phase } = state;
  const updatedAt = phase === 'stale' ? state.updatedAt : undefined;
  const facts = JSON.stringify({ ...state, updatedAt });
  if (facts === rendered) return;
  rendered = facts;
  const now = Date.now();
  show(top, header({ phase, updatedAt, now, onSignOut: () => signOut() }));
  show(main, content(now));
  document.title = state.route.view === 'workload' ? `${state.route.name} · mural` : 'mural';
}

function content(now) {
  const { phase, fleet, route, events, problem } = state;
  if (phase === 'signin') return signIn({ problem: state.signInProblem, onToken: signInWith });
  if (phase === 'failed') return failure(problem, () => wake());
  if (fleet === undefined) return loading();
  const model = { ...{ fleet, route, events, problem, now }, truncated: fleet.truncated };
  return route.view === 'workload' ? workloadView(model) : fleetView(model);
}

function announce(text) {
  if (announcer.textContent !== text) announcer.textContent = text;
}

function signInWith(text) {
  const { token, problem } = readToken(text);
  if (token === undefined) {
    state.signInProblem = problem;
    render();
    document.querySelector('#token')?.focus();
    return;
  }
  sessionStorage.setItem(TOKEN, token);
  start(token);
}

function signOut(problem) {
  session.abort();
  sessionStorage.removeItem(TOKEN);
  const nothing = { fleet: undefined, events: undefined, updatedAt: undefined, problem: undefined };
  Object.assign(state, nothing, { phase: 'signin', signInProblem: problem });
  // A problem is an alert of its own.
  announce(problem === undefined ? 'Signed out' : '');
  render();
  document.querySelector('#token')?.focus();
}

function start(token) {
  session.abort();
  session = new AbortController();
  Object.assign(state, { phase: 'loading', fleet: undefined, events: undefined, signInProblem: undefined });
  state.problem = undefined;
  render();
  void follow(token, session.signal);
}

/** Looks again and again; less often while it fails, and not at all while nobody can see the page. */
async function follow(token, signal) {
  let failures = 0;
  while (!signal.aborted) {
    const { route } = state;
    failures = (await look(token, signal)) ? 0 : failures + 1;
    if (signal.aborted) return;
    render();
    if (route !== state.route) continue;
    const pause = Math.min(POLL_MS * 2 ** failures, MAX_POLL_MS);
    await sleep(pause * (0.9 + 0.2 * Math.random()), signal);
    while (document.hidden && !signal.aborted) await sleep(MAX_POLL_MS, signal);
  }
}

async function look(token, signal) {
  const { route } = state;
  try {
    const [fleet, events] = await Promise.all([readFleet(token, signal), eventsOf(route, token, signal)]);
    if (signal.aborted) return false;
    if (state.phase !== 'live') announce('The page is live');
    Object.assign(state, { phase: 'live', fleet, problem: undefined, updatedAt: new Date().toISOString() });
    // The reader may have gone elsewhere in the meantime.
    if (route === state.route) state.events = events;
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    fail(
      error instanceof ApiError ? error : new ApiError(0, 'the page failed to read the answer of the hub'),
    );
    return false;
  }
}

/** Events are an extra: without the right to read them the rest is shown all the same. */
async function eventsOf(route, token, signal) {
  if (route.view !== 'workload') return undefined;
  try {
    return { items: await readEvents(route.namespace, route.name, token, signal) };
  } catch (error) {
    if (error instanceof ApiError && error.status === 403) return { problem: error.message };
    throw error;
  }
}

function fail(error) {
  const problem = describeProblem(error);
  if (error.status === 401) {
    signOut(problem.text);
    return;
  }
  // Being refused, or being in the wrong place, is an answer; only silence leaves the last one standing.
  const keep = state.fleet !== undefined && error.status !== 403 && error.status !== 404;
  Object.assign(state, keep ? { phase: 'stale', problem } : { phase: 'failed', problem, fleet: undefined });
  announce(keep ? problem.text : '');
}

async function sleep(ms, signal) {
  await new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    wake = done;
    signal.addEventListener('abort', done);
  });
}

function navigate() {
  const token = tokenOfFragment(location.hash);
  if (token !== undefined) {
    // Out of the address bar and the history before anything else happens.
    history.replaceState(null, '', '#/');
    state.route = { view: 'fleet' };
    signInWith(token);
    return;
  }
  if (location.hash === '#main') return;
  state.route = routeOf(location.hash);
  state.events = undefined;
  render();
  window.scrollTo(0, 0);
  main.focus({ preventScroll: true });
  wake();
}

addEventListener('hashchange', navigate);
addEventListener('online', () => wake());
document.addEventListener('visibilitychange', () => wake());
setInterval(() => refreshAges(document, Date.now()), 1000);

const kept = sessionStorage.getItem(TOKEN);
if (kept !== null && tokenOfFragment(location.hash) === undefined) start(kept);
navigate();
render();
