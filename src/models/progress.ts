export interface DownloadProgress {
  downloadedBytes: number;
  /** null: not known. */
  totalBytes: number | null;
}

export type OnProgress = (progress: DownloadProgress) => void;
