/**
 * Ids of a resumable stream's events: `<attempt>-<sequence>`. An attempt is one worker's try; its events count from 1.
 */
function parseId(id: string): [attempt: number, sequence: number] {
  const [attempt, sequence] = id.split('-');
  return [Number(attempt), Number(sequence)];
}

/** @param lastId null: before everything */
export function comesAfter(id: string, lastId: string | null): boolean {
  if (lastId === null) return true;
  const [attempt, sequence] = parseId(id);
  const [lastAttempt, lastSequence] = parseId(lastId);
  return attempt > lastAttempt || (attempt === lastAttempt && sequence > lastSequence);
}

/** Whether nothing lies between the two: the next of an attempt, or the opening (0) of the next one. */
export function follows(id: string, lastId: string | null): boolean {
  const [attempt, sequence] = parseId(id);
  if (lastId === null) return attempt === 1 && sequence === 0;
  const [lastAttempt, lastSequence] = parseId(lastId);
  if (attempt === lastAttempt) return sequence === lastSequence + 1;
  return attempt === lastAttempt + 1 && sequence === 0;
}
