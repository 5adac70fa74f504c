import { type TSchema, Type } from '@sinclair/typebox';

/** Optional, and null means absent, as for every field of this API. */
export function nullable<Schema extends TSchema>(schema: Schema) {
  return Type.Optional(Type.Union([schema, Type.Null()]));
}

const errorBody = Type.Object(
  {
    error: Type.Object({
      message: Type.String(),
      type: Type.String(),
      param: Type.Union([Type.String(), Type.Null()]),
      code: Type.Union([Type.String(), Type.Null()]),
    }),
  },
  { description: 'The request was refused or failed.' },
);

/** One of a few words. */
export function oneOf<const Words extends readonly string[]>(words: Words) {
  return Type.Unsafe<Words[number]>({ type: 'string', enum: words });
}

/** Every status a route can refuse with; all have the same body. */
export const errorResponses = { '4xx': errorBody, '5xx': errorBody };
