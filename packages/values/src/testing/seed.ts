/** What a guide for ECR writes, snippet by snippet, with its placeholders. */
export const SNIPPETS = {
  huePrivate: `hue:
  ociRegistry:
    enabled: true
    endpoint: 'oci://<account-id>.dkr.ecr.<region>.amazonaws.com/<ecr-namespace>'
    repository: '<ecr-repo-name>'
    insecure: false
    interval: 5m
    timeout: 60s
    provider: 'aws'
`,
  huePublic: `hue:
  ociRegistry:
    enabled: true
    endpoint: 'oci://public.ecr.aws/<public-registry-alias>'
    repository: '<ecr-repo-name>'
    insecure: false
    interval: 5m
    timeout: 60s
    provider: 'aws'
`,
  spokesPrivate: `fleetConfig:
  spokes:
    - name: spoke-1
      ociRegistry:
        endpoint: 'oci://<account-id>.dkr.ecr.<region>.amazonaws.com/<ecr-namespace>'
        repository: 'mural-workloads'
        insecure: false
        provider: 'aws'
`,
  spokesPublic: `fleetConfig:
  spokes:
    - name: spoke-1
      ociRegistry:
        endpoint: 'oci://public.ecr.aws/<public-registry-alias>'
        repository: 'mural-workloads'
        insecure: false
        provider: 'aws'
`,
  hueAccount: `hue:
  serviceAccount:
    create: true
    annotations:
      eks.amazonaws.com/role-arn: arn:aws:iam::<account-id>:role/<iam-role-name>
`,
  sourceAccount: `flux2:
  sourceController:
    serviceAccount:
      create: true
      automount: true
      annotations:
        eks.amazonaws.com/role-arn: arn:aws:iam::<account-id>:role/<iam-role-name>
`,
  hueBasicAuth: `hue:
  ociRegistry:
    basicAuth:
      username: '<username>'
      password: '<password>'
`,
  spokesBasicAuth: `fleetConfig:
  spokes:
    - name: spoke-1
      ociRegistry:
        basicAuth:
          username: '<username>'
          password: '<password>'
`,
  zot: `zot:
  enabled: false
`,
} as const;

const FILLED: Readonly<Record<string, string>> = {
  '<account-id>': '123456789012',
  '<region>': 'eu-west-1',
  '<ecr-namespace>': 'team',
  '<ecr-repo-name>': 'mural-workloads',
  '<public-registry-alias>': 'a1b2c3d4',
  '<iam-role-name>': 'mural',
  '<username>': 'admin',
  '<password>': 'hunter2-hunter2',
};

/** The text with every placeholder replaced. */
export function fill(text: string, others: Readonly<Record<string, string>> = {}): string {
  return text.replace(/<[^<>]+>/g, (name) => others[name] ?? FILLED[name] ?? name);
}

/** The two snippets of `hue` as one mapping, then the others: the whole file of the guide. */
export function wholeFile(kind: 'private' | 'public'): string {
  const hue = kind === 'private' ? SNIPPETS.huePrivate : SNIPPETS.huePublic;
  const spokes = kind === 'private' ? SNIPPETS.spokesPrivate : SNIPPETS.spokesPublic;
  return fill(
    hue + SNIPPETS.hueAccount.replace('hue:\n', '') + spokes + SNIPPETS.sourceAccount + SNIPPETS.zot,
  );
}
