/** What CI runs: these seeds every time, and some new ones. */
export const fixedSeeds = Array.from({ length: 300 }, (_, index) => index + 1);
export const randomSeedCount = 20;
export const ticksPerSeed = 150;
