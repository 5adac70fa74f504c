import { ServiceError } from '../errors.js';
import { describeValue } from '../http/parameters/json-fields.js';

export interface ListQuery {
  limit: number;
  after: string | null;
  ascending: boolean;
}

type QueryStrings = Readonly<Record<string, unknown>>;

/** @throws ServiceError `invalid_value` */
export function readListQuery(query: QueryStrings, defaultLimit: number, maxLimit: number): ListQuery {
  const limit = query.limit === undefined ? defaultLimit : Number(query.limit);
  if (!Number.isInteger(limit) || limit < 1 || limit > maxLimit)
    throw invalid('limit', `a whole number from 1 to ${maxLimit}`, query.limit);
  const order = query.order ?? 'desc';
  if (order !== 'asc' && order !== 'desc') throw invalid('order', '"asc" or "desc"', order);
  const after = query.after ?? null;
  if (after !== null && typeof after !== 'string') throw invalid('after', 'an id', after);
  return { limit, after, ascending: order === 'asc' };
}

/**
 * A page of a list, as OpenAI's clients turn pages.
 * @param items in order of creation, which is the order of their ids
 */
export function listPage<Item extends { id: string }>(items: readonly Item[], query: ListQuery) {
  const { limit, after, ascending } = query;
  const ordered = ascending ? items : [...items].reverse();
  const rest = after === null ? ordered : ordered.filter(({ id }) => (ascending ? id > after : id < after));
  const data = rest.slice(0, limit);
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: rest.length > data.length,
  };
}

function invalid(name: string, expectation: string, value: unknown): ServiceError {
  return new ServiceError('invalid_value', `${name} must be ${expectation}, got ${describeValue(value)}`, {
    param: name,
  });
}
