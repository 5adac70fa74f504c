import { ServiceError } from '../../errors.js';
import { invalidValue, type JsonObject, readField, shorten } from './json-fields.js';

/** One server serves one model; these names ask for whichever it is. */
const anyModel = new Set(['', 'default']);

/** @throws ServiceError `model_not_found` naming the model that is there */
export function requireModel(body: JsonObject, availableModel: string): void {
  const value = readField(body, 'model');
  if (value === undefined) return;
  if (typeof value !== 'string') throw invalidValue('model', 'a string', value);
  if (value !== availableModel && !anyModel.has(value)) throw modelNotFound(value, availableModel);
}

export function modelNotFound(name: string, availableModel: string): ServiceError {
  return new ServiceError(
    'model_not_found',
    `the model ${JSON.stringify(shorten(name))} does not exist; this server has ${JSON.stringify(availableModel)}`,
    { param: 'model' },
  );
}
