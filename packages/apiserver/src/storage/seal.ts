import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { MuralError } from '@mural/core';

const NONCE = 12;
const TAG = 16;

/**
 * Encrypts rows at rest with AES-256-GCM. The place of a row (resource, namespace, name) is
 * authenticated with it, so that one row cannot be put in the place of another.
 */
export interface Seal {
  seal(place: string, text: string): Buffer;
  /** @throws MuralError `StoreUnreadable` when the key is not the one that sealed, or the row was changed. */
  open(place: string, sealed: Uint8Array): string;
}

/** @param key 32 bytes */
export function createSeal(key: Buffer): Seal {
  if (key.length !== 32) throw new MuralError('InvalidKey', 'an encryption key has 32 bytes');
  return {
    seal(place, text) {
      const nonce = randomBytes(NONCE);
      const cipher = createCipheriv('aes-256-gcm', key, nonce);
      cipher.setAAD(Buffer.from(place));
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), body]);
    },
    open(place, sealed) {
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE));
        decipher.setAAD(Buffer.from(place));
        decipher.setAuthTag(sealed.subarray(NONCE, NONCE + TAG));
        return decipher.update(sealed.subarray(NONCE + TAG), undefined, 'utf8') + decipher.final('utf8');
      } catch (cause) {
        throw new MuralError('StoreUnreadable', 'a stored Secret does not open with this key', {
          cause,
          hint: 'Start with the key file that belongs to this data folder.',
          facts: { place },
        });
      }
    },
  };
}
