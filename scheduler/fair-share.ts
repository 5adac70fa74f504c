/** Cost of one computed prompt token and of one generated token in a tenant's account (weights of the VTC paper). */
export const promptTokenWeight = 1;
export const generatedTokenWeight = 2;

interface Account {
  served: number;
  waiting: number;
}

/**
 * Who has had how much service, inside one priority class.
 * Virtual token counter of "Fairness in Serving Large Language Models" (Sheng et al., OSDI 2024): serve the tenant
 * with the least; whoever comes back is lifted to the least of those that wait, so idle time earns no credit.
 */
export class FairShare {
  private readonly accounts = new Map<string, Account>();
  private readonly maxAccounts: number;
  private lastLeftServed = 0;

  /** @param maxAccounts tenants remembered at most; the longest idle are forgotten first */
  constructor(maxAccounts: number) {
    this.maxAccounts = maxAccounts;
  }

  served(tenant: string): number {
    return this.accounts.get(tenant)?.served ?? 0;
  }

  charge(tenant: string, cost: number): void {
    const account = this.accounts.get(tenant);
    if (account) account.served += cost;
  }

  /** A sequence of this tenant joined the line. */
  join(tenant: string): void {
    let account = this.accounts.get(tenant);
    if (!account) {
      account = { served: 0, waiting: 0 };
      this.accounts.set(tenant, account);
      this.forgetIdle();
    }
    if (account.waiting === 0) account.served = Math.max(account.served, this.leastServedWaiting());
    account.waiting += 1;
  }

  /** A sequence of this tenant left the line, served or not. */
  leave(tenant: string): void {
    const account = this.accounts.get(tenant);
    if (!account) return;
    account.waiting -= 1;
    if (account.waiting > 0) return;
    this.lastLeftServed = account.served;
    this.accounts.delete(tenant);
    this.accounts.set(tenant, account);
  }

  private leastServedWaiting(): number {
    let least = Number.POSITIVE_INFINITY;
    for (const account of this.accounts.values()) {
      if (account.waiting > 0 && account.served < least) least = account.served;
    }
    return least === Number.POSITIVE_INFINITY ? this.lastLeftServed : least;
  }

  private forgetIdle(): void {
    if (this.accounts.size <= this.maxAccounts) return;
    for (const [tenant, account] of this.accounts) {
      if (account.waiting > 0) continue;
      this.accounts.delete(tenant);
      if (this.accounts.size <= this.maxAccounts) return;
    }
  }
}
