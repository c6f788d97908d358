import { h } from './dom.js';
import { ago, deploymentDetail, deploymentRows, eventRows, sentence, spokeRows, tally } from './model.js';

const TOKEN_COMMAND = "kubectl config view --raw -o jsonpath='{.users[0].user.token}'";

/** A label with a sign of its own: colour is never all that tells states apart. */
const STATES = {
  True: { kind: 'good', sign: '✓' },
  False: { kind: 'bad', sign: '✕' },
  Unknown: { kind: 'unknown', sign: '?' },
};

function state(status, words) {
  const { kind, sign } = STATES[status];
  return h(
    'span',
    { class: `state ${kind}` },
    h('span', { 'aria-hidden': 'true', class: 'sign' }, sign),
    words[status],
  );
}

const READY = { True: 'Ready', False: 'Not ready', Unknown: 'Unknown' };
const HEALTHY = { True: 'Healthy', False: 'Unhealthy', Unknown: 'Unknown' };

function readyCell({ status, reason }) {
  return [state(status, READY), status !== 'True' && reason !== '' && note(reason)];
}

function healthCell({ status, reason }) {
  if (status === 'None') return ['–'];
  return [state(status, HEALTHY), reason !== '' && note(reason)];
}

function note(text) {
  return h('span', { class: 'note' }, text);
}

/** A time as an age; `refreshAges` keeps it true. */
function age(time, now, never = 'never') {
  if (time === undefined) return h('span', { class: 'quiet' }, never);
  const title = new Date(time).toLocaleString();
  return h('time', { datetime: time, title }, ago(time, now));
}

/** Brings the ages on the page up to date. */
export function refreshAges(root, now) {
  for (const element of root.querySelectorAll('time[datetime]')) {
    const text = ago(element.dateTime, now);
    if (element.textContent !== text) element.textContent = text;
  }
}

/**
 * A table that turns into a list of cards where it does not fit. The roles are repeated because
 * browsers drop those of tables that are not laid out as such.
 */
function table(id, caption, heads, rows) {
  const cells = (row) =>
    row.map((content, column) => {
      const head = heads[column];
      const attributes = { 'data-head': head, class: head.toLowerCase().replaceAll(' ', '-') };
      if (column === 0) return h('th', { ...attributes, scope: 'row', role: 'rowheader' }, content);
      const told = content.filter((child) => child !== false && child !== '');
      return h('td', { ...attributes, role: 'cell' }, told.length > 0 && h('span', {}, told));
    });
  return h(
    'table',
    { role: 'table', id },
    h('caption', { class: 'unseen' }, caption),
    h(
      'thead',
      { role: 'rowgroup' },
      h(
        'tr',
        { role: 'row' },
        heads.map((head) => h('th', { scope: 'col', role: 'columnheader' }, head)),
      ),
    ),
    h(
      'tbody',
      { role: 'rowgroup' },
      rows.map((row) => h('tr', { role: 'row' }, cells(row))),
    ),
  );
}

/** The bar at the top: where one is, how fresh the page is, the way out. */
export function header({ phase, updatedAt, now, onSignOut }) {
  const freshness = {
    loading: () => [h('span', { class: 'dot' }), 'Loading'],
    live: () => [h('span', { class: 'dot live' }), 'Live'],
    stale: () => [h('span', { class: 'dot stale' }), 'Stale, from ', age(updatedAt, now)],
  }[phase];
  return [
    h(
      'a',
      { href: '#/', class: 'brand' },
      h('img', { src: '/icon.svg', alt: '', width: 22, height: 22 }),
      'mural',
    ),
    h('span', { id: 'freshness' }, freshness === undefined ? [] : freshness()),
    phase !== 'signin' && h('button', { id: 'sign-out', type: 'button', onclick: onSignOut }, 'Sign out'),
  ];
}

/** The way in. */
export function signIn({ problem, onToken }) {
  const submit = (event) => {
    event.preventDefault();
    onToken(event.target.elements.namedItem('token').value);
  };
  return [
    h(
      'section',
      { class: 'card narrow', 'aria-labelledby': 'sign-in-title' },
      h('h1', { id: 'sign-in-title' }, 'Sign in'),
      h('p', {}, 'The console shows what the Kubernetes API of the hub shows you.'),
      h(
        'form',
        { id: 'sign-in', onsubmit: submit, novalidate: true },
        h('label', { for: 'token' }, 'Bearer token'),
        h('input', {
          ...{ id: 'token', name: 'token', type: 'password', autocomplete: 'off', spellcheck: 'false' },
          'aria-describedby': problem === undefined ? 'token-help' : 'token-problem token-help',
          'aria-invalid': problem === undefined ? undefined : 'true',
        }),
        problem !== undefined && h('p', { id: 'token-problem', class: 'problem', role: 'alert' }, problem),
        h('button', { type: 'submit', class: 'primary' }, 'Sign in'),
      ),
      h(
        'div',
        { id: 'token-help', class: 'help' },
        h('p', {}, 'The administrator’s token is in the kubeconfig that mural up wrote:'),
        h('pre', {}, h('code', {}, TOKEN_COMMAND)),
        h('p', {}, 'It stays in this tab, and is gone when you close it or sign out.'),
      ),
    ),
  ];
}

/** Before the first answer. */
export function loading() {
  return [h('p', { class: 'quiet', 'aria-busy': 'true' }, 'Loading the fleet …')];
}

/** Nothing to show, and why. */
export function failure({ title, text }, onRetry) {
  return [
    h(
      'section',
      { class: 'card narrow', role: 'alert' },
      h('h1', {}, title),
      h('p', {}, text),
      h('button', { id: 'retry', type: 'button', class: 'primary', onclick: onRetry }, 'Try again'),
    ),
  ];
}

/** What is above data that may be out of date, or is not all there is. */
function notices({ problem, truncated }) {
  return [
    problem !== undefined &&
      h(
        'p',
        { class: 'notice', id: 'stale' },
        h('strong', {}, 'This is no longer live. '),
        `${problem.text} The page keeps trying.`,
      ),
    truncated && h('p', { class: 'notice', id: 'truncated' }, 'There are more objects than this page shows.'),
  ];
}

/** The fleet at a glance. */
export function fleetView(model) {
  const { fleet, now } = model;
  const spokes = spokeRows(fleet.spokes);
  const deployments = deploymentRows(fleet.deployments);
  return [
    h('h1', {}, 'Fleet'),
    ...notices(model),
    h('div', { class: 'tallies' }, tallyCard('Spokes', spokes), tallyCard('Workloads', deployments)),
    section('workloads', 'Workloads', deployments.length === 0 ? noWorkloads() : workloadTable(deployments)),
    section('spokes', 'Spokes', spokes.length === 0 ? noSpokes() : spokeTable(spokes, now)),
  ];
}

function section(id, title, ...content) {
  return h(
    'section',
    { 'aria-labelledby': `${id}-title`, id },
    h('h2', { id: `${id}-title` }, title),
    content,
  );
}

function tallyCard(title, rows) {
  const { total, ready, failed, unknown } = tally(rows);
  const rest = [failed > 0 && `${failed} not ready`, unknown > 0 && `${unknown} unknown`].filter(Boolean);
  return h(
    'div',
    { class: 'card tally' },
    h('span', { class: 'quiet' }, title),
    h('span', { class: 'number' }, `${ready}/${total}`),
    h('span', { class: 'quiet' }, total === 0 ? 'none yet' : ['ready', ...rest].join(' · ')),
  );
}

function noSpokes() {
  return h(
    'p',
    { class: 'card empty' },
    'No spoke has been added yet. ',
    h('code', {}, 'mural spoke bootstrap NAME --create'),
    ' adds one.',
  );
}

function noWorkloads() {
  return h(
    'p',
    { class: 'card empty' },
    'Nothing is deployed yet. ',
    h('code', {}, 'kubectl apply --filename examples/quickstart'),
    ' deploys a first workload.',
  );
}

function spokeTable(rows, now) {
  return table(
    'spoke-table',
    'Spokes of the fleet',
    ['Name', 'Ready', 'Workloads ready', 'Last seen', 'Labels', 'Message'],
    rows.map((row) => [
      [row.name, row.suspended && note('suspended')],
      readyCell(row.ready),
      [
        `${row.workloads.ready}/${row.workloads.total}`,
        !row.workloads.current && row.workloads.total > 0 && note('when last seen'),
      ],
      [age(row.lastSeen, now)],
      row.labels.length === 0 ? ['–'] : row.labels.map((label) => h('span', { class: 'label' }, label)),
      [row.ready.status === 'True' ? '' : sentence(row.ready.message)],
    ]),
  );
}

function marks(row) {
  return [row.suspended && note('suspended'), row.deleting && note('being deleted')];
}

function workloadTable(rows) {
  return table(
    'workload-table',
    'Workload deployments',
    ['Workload', 'Ready', 'Spokes', 'Profile', 'Environment', 'Message'],
    rows.map((row) => [
      [h('a', { href: row.link }, `${row.namespace}/${row.name}`), ...marks(row)],
      readyCell(row.ready),
      [row.summary],
      [row.profile],
      [row.environment],
      [sentence(row.ready.message)],
    ]),
  );
}

/** One workload deployment: its spokes, conditions and events. */
export function workloadView(model) {
  const { fleet, route, events, now } = model;
  const detail = deploymentDetail(fleet, route.namespace, route.name);
  const back = h('p', {}, h('a', { href: '#/' }, '← Fleet'));
  if (detail === undefined) {
    const text = `There is no workload deployment ${route.namespace}/${route.name}.`;
    return [back, ...notices(model), h('h1', {}, route.name), h('p', { class: 'card empty' }, text)];
  }
  return [
    back,
    h('h1', {}, h('span', { class: 'quiet' }, `${detail.namespace}/`), detail.name, ...marks(detail)),
    ...notices(model),
    h('p', { class: 'lead' }, ...readyCell(detail.ready), ' ', sentence(detail.ready.message)),
    h(
      'dl',
      { class: 'facts' },
      ...fact('Profile', detail.profile),
      ...fact('Environment', detail.environment),
      ...fact('Spokes ready', detail.summary),
    ),
    section(
      'on-spokes',
      'On its spokes',
      detail.spokes.length === 0
        ? h('p', { class: 'card empty' }, 'Nothing was published to a spoke yet.')
        : placeTable(detail.spokes, now),
    ),
    section('conditions', 'Conditions', conditionTable(detail.conditions, now)),
    section('events', 'Recent events', eventTable(events, now)),
  ];
}

function fact(name, value) {
  return [h('div', {}, h('dt', {}, name), h('dd', {}, value))];
}

function placeTable(spokes, now) {
  return table(
    'place-table',
    'The workload on each of its spokes',
    ['Spoke', 'Ready', 'Health', 'Revision', 'Objects', 'Last seen', 'Message'],
    spokes.map((spoke) => [
      [spoke.name],
      [state(spoke.ready, READY)],
      healthCell(spoke.health),
      revision(spoke.revision, spoke.tag),
      [spoke.objects === undefined ? '–' : String(spoke.objects)],
      [age(spoke.lastSeen, now)],
      [sentence(spoke.message)],
    ]),
  );
}

function revision({ applied, wanted }, tag) {
  if (applied === '' && wanted === '') return ['–'];
  return [
    h('code', { title: tag }, applied === '' ? wanted : applied),
    applied === '' ? note('published') : wanted !== '' && note(`→ ${wanted}`),
  ];
}

function conditionTable(conditions, now) {
  if (conditions.length === 0) return h('p', { class: 'card empty' }, 'The hub has not looked at it yet.');
  return table(
    'condition-table',
    'Conditions',
    ['Type', 'Status', 'Reason', 'Since', 'Message'],
    conditions.map((condition) => [
      [condition.type],
      [condition.status],
      [condition.reason],
      [age(condition.since, now, '–')],
      [sentence(condition.message)],
    ]),
  );
}

function eventTable(events, now) {
  if (events === undefined) return h('p', { class: 'quiet' }, 'Loading …');
  if (events.problem !== undefined) {
    return h('p', { class: 'card empty' }, `Events cannot be shown: ${events.problem}.`);
  }
  const rows = eventRows(events.items);
  if (rows.length === 0) return h('p', { class: 'card empty' }, 'No events lately.');
  return table(
    'event-table',
    'Recent events, the latest first',
    ['When', 'Type', 'Reason', 'From', 'Message'],
    rows.map((row) => [
      [age(row.time, now, '–')],
      [row.type],
      [row.reason, row.count > 1 && note(`${row.count} times`)],
      [row.source],
      [sentence(row.message)],
    ]),
  );
}
