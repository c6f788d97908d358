const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`;
const LABEL_1035 = '[a-z]([-a-z0-9]*[a-z0-9])?';
const NAME_PART = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const LABEL_VALUE = `(${NAME_PART})?`;

/** A rule of `k8s.io/apimachinery` `validation`: the words of what breaks it, one for each way. */
export type NameRule = (name: string) => string[];

function rule(pattern: string, limit: number, words: string): NameRule {
  const matcher = new RegExp(`^${pattern}$`);
  return (name) => [
    ...(name.length > limit ? [`must be no more than ${limit} characters`] : []),
    ...(matcher.test(name) ? [] : [words]),
  ];
}

/** RFC 1123 subdomain: the names of most objects. */
export const subdomainName = rule(
  SUBDOMAIN,
  253,
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must " +
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is " +
    `'${SUBDOMAIN.replaceAll('(\\.', '(\\.')}')`,
);

/** RFC 1123 label: the names of namespaces. */
export const labelName = rule(
  LABEL,
  63,
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and " +
    `end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '${LABEL}')`,
);

/** RFC 1035 label: the names of services. */
export const serviceName = rule(
  LABEL_1035,
  63,
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic " +
    "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for " +
    `validation is '${LABEL_1035}')`,
);

/** Names that only must fit into a URL: those of RBAC objects. */
export const pathSegmentName: NameRule = (name) => {
  if (name === '.' || name === '..') return [`may not be '${name}'`];
  return ['/', '%']
    .filter((character) => name.includes(character))
    .map((character) => `may not contain '${character}'`);
};

const NAME_PART_RULE = rule(
  NAME_PART,
  63,
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an " +
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is " +
    `'${NAME_PART}')`,
);

/** `prefix/name` or `name`: keys of labels and annotations, finalizers. */
export const qualifiedName: NameRule = (name) => {
  const [first = '', second, ...more] = name.split('/');
  if (more.length > 0) {
    return [
      "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with " +
        "an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is " +
        `'${NAME_PART}') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  }
  if (second === undefined) return nameWords(first);
  const prefix =
    first === '' ? ['prefix part must be non-empty'] : subdomainName(first).map((w) => `prefix part ${w}`);
  return [...prefix, ...nameWords(second)];
};

function nameWords(name: string): string[] {
  if (name === '') return ['name part must be non-empty'];
  return NAME_PART_RULE(name).map((words) =>
    words.startsWith('must be no more') ? 'name part must be no more than 63 bytes' : words,
  );
}

const LABEL_VALUE_RULE = rule(
  LABEL_VALUE,
  63,
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must " +
    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used " +
    `for validation is '(${NAME_PART})?')`,
);

/** Values of labels. */
export const labelValue: NameRule = (value) =>
  LABEL_VALUE_RULE(value).map((words) =>
    words.startsWith('must be no more') ? 'must be no more than 63 bytes' : words,
  );

/** The rule for the names of a resource. */
export function nameRuleOf(storage: string): NameRule {
  if (storage === 'namespaces') return labelName;
  if (storage === 'services') return serviceName;
  return storage.startsWith('rbac.authorization.k8s.io/') ? pathSegmentName : subdomainName;
}
