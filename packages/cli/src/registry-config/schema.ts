import { parseDuration } from '@mural/core';
import { ACTIONS } from '@mural/registry';
import { z } from 'zod';
import { MaintenanceSection } from './maintenance.ts';
import { MirrorsSection } from './mirrors.ts';
import { EventsSection, MetricsSection } from './operations.ts';

const Text = z.string().min(1, 'must not be empty');

const Duration = Text.refine(
  (text) => {
    try {
      return parseDuration(text) > 0;
    } catch {
      return false;
    }
  },
  { error: 'must be a duration, such as 90s, 5m or 1h' },
);

/** Actions on the repositories that a pattern fits. */
const Policy = z.strictObject({ repositories: Text, actions: z.array(z.enum(ACTIONS)).min(1) });

const Policies = z.array(Policy);

/** Somebody who signs in with a password. Without a hash or a file the name must be in the htpasswd file. */
const User = z.strictObject({
  name: Text,
  passwordHash: Text.optional(),
  passwordFile: Text.optional(),
  policies: Policies,
});

const Htpasswd = z.strictObject({
  file: Text,
  /** What those may do who are in the file and not among the users; nothing unless told. */
  policies: Policies.default([]),
});

const Anonymous = z.union([z.enum(['none', 'pull', 'push']), Policies], {
  error: 'must be none, pull, push or a list of policies',
});

const Token = z.strictObject({
  service: Text.optional(),
  realm: Text.optional(),
  lifetime: Duration.optional(),
});

const Issuer = z.strictObject({
  name: Text,
  issuer: Text,
  audiences: z.array(Text).min(1, 'needs an audience, or a token for anything else would do'),
  discoveryUrl: Text.optional(),
  jwksUrl: Text.optional(),
  /** A file with the keys, in place of fetching them. */
  jwksFile: Text.optional(),
  caFile: Text.optional(),
  tokenFile: Text.optional(),
  subjectClaim: Text.optional(),
  groupsClaim: Text.optional(),
  rules: z
    .array(
      z.strictObject({
        subject: Text.optional(),
        groups: z.array(Text).min(1).optional(),
        policies: Policies,
      }),
    )
    .min(1, 'needs a rule, or nobody could sign in'),
});

const CertificateRule = z.strictObject({
  commonName: Text.optional(),
  uri: Text.optional(),
  user: Text.optional(),
  policies: Policies.optional(),
});

const Clients = z.strictObject({
  caFile: Text,
  required: z.boolean().default(false),
  rules: z.array(CertificateRule).min(1, 'needs a rule, or nobody could sign in'),
});

const Tls = z.strictObject({
  certFile: Text.optional(),
  keyFile: Text.optional(),
  clients: Clients.optional(),
});

/** What `mural registry serve --config` reads. */
export const RegistryConfigFile = z.strictObject({
  users: z.array(User).optional(),
  htpasswd: Htpasswd.optional(),
  anonymous: Anonymous.optional(),
  token: Token.optional(),
  oidc: z.array(Issuer).optional(),
  tls: Tls.optional(),
  maintenance: MaintenanceSection.optional(),
  metrics: MetricsSection.optional(),
  events: EventsSection.optional(),
  mirrors: MirrorsSection.optional(),
});

/** The content of a configuration file. */
export type RegistryConfigFile = z.infer<typeof RegistryConfigFile>;
