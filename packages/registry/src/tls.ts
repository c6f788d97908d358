import { constants } from 'node:crypto';
import type { Server as TlsServer, ServerOptions } from 'node:https';
import type { ClientCertificates } from './auth/client-certificates.ts';

/** A certificate with what is needed of its chain, and its key, as PEM. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
}

/** The TLS settings of a server, which can be exchanged while it serves. */
export class Tls {
  readonly #clients: ClientCertificates | undefined;
  #material: TlsMaterial;
  #ca: string | undefined;

  constructor(material: TlsMaterial, clients: ClientCertificates | undefined) {
    this.#material = material;
    this.#clients = clients;
    this.#ca = clients?.ca;
  }

  /** What a server is made with. */
  get options(): ServerOptions {
    return {
      ...this.#context,
      requestCert: this.#clients !== undefined,
      rejectUnauthorized: this.#clients?.required === true,
    };
  }

  /**
   * Puts other material to use for connections from now on.
   *
   * @returns whether other authorities are trusted from now on
   * @throws Error when certificate and key cannot be used, and then nothing has changed
   */
  use(server: TlsServer, { clientCa, ...material }: TlsMaterial & { readonly clientCa?: string }): boolean {
    const before = { material: this.#material, ca: this.#ca };
    this.#material = material;
    if (this.#clients !== undefined && clientCa !== undefined) this.#ca = clientCa;
    try {
      server.setSecureContext(this.#context);
    } catch (error) {
      this.#material = before.material;
      this.#ca = before.ca;
      throw error;
    }
    return this.#ca !== before.ca;
  }

  get #context(): ServerOptions {
    const context: ServerOptions = {
      cert: this.#material.cert,
      key: this.#material.key,
      minVersion: 'TLSv1.2',
    };
    if (this.#ca === undefined) return context;
    // A resumed session would bring the verdict of an earlier handshake, under authorities that may no
    // longer be trusted: every connection shows its certificate.
    return { ...context, ca: this.#ca, secureOptions: constants.SSL_OP_NO_TICKET };
  }
}
