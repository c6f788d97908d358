import { ACTIONS } from '@mural/registry';
import { z } from 'zod';
import { Duration, Text } from './fields.ts';
import { MaintenanceSection } from './maintenance.ts';
import { MirrorsSection } from './mirrors.ts';
import { EventsSection, MetricsSection } from './operations.ts';

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

/** A key that whoever runs the registry decides, and what is to be done instead. */
function decided(instead: string) {
  return z.never({ error: `is decided by mural up: ${instead}` }).optional();
}

const ACCOUNTS =
  'it makes the accounts of the hub, of its owner and of the spokes; for others make a robot (mural registry robot create) or name an issuer in oidc';

/** What `mural up --registry-config` reads: the same, without what the hub decides itself. */
export const HubRegistryConfigFile = RegistryConfigFile.extend({
  users: decided(ACCOUNTS),
  htpasswd: decided(ACCOUNTS),
  anonymous: decided('nobody reads or writes without an account; leave it out'),
  tls: decided('it serves with a certificate of its own CA; leave it out'),
  listen: decided('give it --listen'),
  port: decided('give it --registry-port'),
  data: decided('give it --data'),
});
