import { isEcrRepository, problemOfEndpoint, problemOfRepository } from '../address.ts';
import type { Found, ValuesDocument } from '../document.ts';
import { endpointOf, filled, formatPath, type RegistryPlace, registriesOf } from './rule.ts';

/** The grammar of every `endpoint`. */
export function* checkEndpoints(document: ValuesDocument): Iterable<Found> {
  for (const { path, value } of registriesOf(document)) {
    const endpoint = filled(value.endpoint);
    if (endpoint === undefined) continue;
    const problem = problemOfEndpoint(endpoint);
    if (problem === undefined) continue;
    const at = [...path, 'endpoint'];
    yield document.finding(at, {
      level: 'error',
      message: `${formatPath(at)} ${problem.message}`,
      rule: 'endpoint',
      ...(problem.fix === undefined
        ? {}
        : { fix: problem.fix, edit: { kind: 'set', to: problem.fix } as const }),
    });
  }
}

/** The grammar of every `repository`, and that there is one beside an endpoint. */
export function* checkRepositories(document: ValuesDocument): Iterable<Found> {
  for (const place of registriesOf(document)) {
    const { path, value } = place;
    const at = [...path, 'repository'];
    if (value.repository === undefined && typeof value.endpoint === 'string') {
      const message = `${formatPath(at)} is required beside an endpoint`;
      yield document.finding([...path, 'endpoint'], { level: 'error', message, rule: 'repository' }, 'key');
    }
    const repository = filled(value.repository);
    if (repository === undefined) continue;
    const problem = problemOfRepository(repository);
    if (problem !== undefined) {
      const message = `${formatPath(at)} ${problem}`;
      yield document.finding(at, { level: 'error', message, rule: 'repository' });
      continue;
    }
    yield* checkTogether(document, place, repository);
  }
}

/** What endpoint and repository make together: the URL is `endpoint/repository`. */
function* checkTogether(document: ValuesDocument, place: RegistryPlace, repository: string): Iterable<Found> {
  const endpoint = endpointOf(place.value);
  if (endpoint === undefined) return;
  const at = [...place.path, 'endpoint'];
  const repeated = `/${endpoint.path}`.endsWith(`/${repository}`);
  if (repeated) {
    const message = `${formatPath(at)} repeats the repository ${repository}, so the URL becomes oci://${endpoint.registry}/${endpoint.path}/${repository}: an endpoint ends before the repository`;
    yield document.finding(at, { level: 'warning', message, rule: 'endpoint-repository' });
  }
  const name =
    endpoint.ecr?.kind === 'private' && endpoint.path !== '' ? `${endpoint.path}/${repository}` : repository;
  if (endpoint.ecr !== undefined && !isEcrRepository(name)) {
    const message = `${formatPath([...place.path, 'repository'])}: ECR allows no repository named "${name}": 2 to 256 characters, lower-case letters and digits with single . _ - between them`;
    yield document.finding([...place.path, 'repository'], {
      level: 'error',
      message,
      rule: 'ecr-repository',
    });
  }
}
