import { randomBytes } from 'node:crypto';

/** Ids begin with the time, so that their order is the order of creation. */
function newSuffix(): string {
  return Date.now().toString(16).padStart(12, '0') + randomBytes(8).toString('hex');
}

export const newFileId = () => `file-${newSuffix()}`;
export const newBatchId = () => `batch_${newSuffix()}`;
export const newLineId = () => `batch_req_${randomBytes(12).toString('hex')}`;

/** Ids become names of files, so nothing else gets through. */
export const isFileId = (text: string) => /^file-[0-9a-f]{28}[oe]?$/.test(text);
export const isBatchId = (text: string) => /^batch_[0-9a-f]{28}$/.test(text);

/** Known before the files are written, so that a crash in between leaves no second pair. */
export function resultFileIds(batchId: string): { output: string; errors: string } {
  const suffix = batchId.slice('batch_'.length);
  return { output: `file-${suffix}o`, errors: `file-${suffix}e` };
}
