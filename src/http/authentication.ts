import { createHash, timingSafeEqual } from 'node:crypto';
import { ServiceError } from '../errors.js';

const bearerPattern = /^bearer +(\S+) *$/i;
const anonymousTenant = 'anonymous';

/** Decides who a request is from. Holds digests only, so no key can end up in a log or a heap message. */
export class Authentication {
  private readonly keyDigests: readonly Buffer[];

  /** @param apiKeys accepted keys; empty: everybody is welcome and nobody is known */
  constructor(apiKeys: readonly string[]) {
    this.keyDigests = apiKeys.map(digest);
  }

  /**
   * @param authorization the Authorization header
   * @returns the tenant: the beginning of the key's SHA-256, or `anonymous`
   * @throws ServiceError `invalid_api_key`
   */
  authenticate(authorization: string | undefined): string {
    if (this.keyDigests.length === 0) return anonymousTenant;
    const key = bearerPattern.exec(authorization ?? '')?.[1];
    if (key === undefined) {
      throw new ServiceError('invalid_api_key', 'an API key is required: send Authorization: Bearer KEY');
    }
    const candidate = digest(key);
    if (!this.isKnown(candidate)) throw new ServiceError('invalid_api_key', 'the API key is not valid');
    return candidate.toString('hex').slice(0, 12);
  }

  /** Compares every key in constant time, so that timing tells nothing about any of them. */
  private isKnown(candidate: Buffer): boolean {
    let known = false;
    for (const keyDigest of this.keyDigests) {
      if (timingSafeEqual(keyDigest, candidate)) known = true;
    }
    return known;
  }
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
