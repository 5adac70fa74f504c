/**
 * Bucket bounds in seconds (or counts). Where vLLM measures the same thing the bounds are vLLM's, so
 * dashboards carry over.
 */

export const timeToFirstTokenSeconds = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
  2560,
];

export const interTokenLatencySeconds = [
  0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];

export const requestLatencySeconds = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
];

export const tickDecodeSeconds = [
  0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5,
];

/** Sampling and JavaScript time: a few milliseconds at most when all is well. */
export const tickOverheadSeconds = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1,
];

export const rowCounts = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];
export const passCounts = [1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256];
export const tokenCounts = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];
