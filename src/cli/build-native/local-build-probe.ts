import { readNativeBuild } from '../../models/native-build.js';

// A process of its own: libraries of two builds in one process answer for each other.
process.send?.(await readNativeBuild('local'));
