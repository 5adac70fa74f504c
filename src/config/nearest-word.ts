/** The word a typing mistake most likely meant, or null when nothing is close. */
export function nearestWord(typed: string, words: readonly string[]): string | null {
  let nearest: string | null = null;
  let nearestDistance = Math.max(1, Math.floor(typed.length * 0.4)) + 1;
  for (const word of words) {
    const distance = word.startsWith(typed) && typed.length > 3 ? 1 : editDistance(typed, word);
    if (distance < nearestDistance) [nearest, nearestDistance] = [word, distance];
  }
  return nearest;
}

/** Levenshtein distance: letters to insert, delete or replace. */
function editDistance(left: string, right: string): number {
  let previousRow = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row++) {
    const currentRow = [row];
    for (let column = 1; column <= right.length; column++) {
      const replaced = previousRow[column - 1]! + (left[row - 1] === right[column - 1] ? 0 : 1);
      currentRow.push(Math.min(previousRow[column]! + 1, currentRow[column - 1]! + 1, replaced));
    }
    previousRow = currentRow;
  }
  return previousRow[right.length]!;
}
