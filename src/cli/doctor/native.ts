import { availableParallelism } from 'node:os';
import {
  describeNativeBuild,
  type NativeBuild,
  type NativeChoice,
  readNativeBuild,
} from '../../models/native-build.js';
import { missingBuildTools } from '../build-native/tools.js';
import { type Check, fail, ok, warn } from './check.js';

/** Which llama.cpp would run, and whether compiling it on this machine would make it faster. */
export async function checkNativeBuild(choice: NativeChoice): Promise<Check> {
  let build: NativeBuild;
  try {
    build = await readNativeBuild(choice);
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0]! : String(error);
    return fail('native', `no llama.cpp runs here (${reason})`, buildAdvice());
  }
  return judgeNativeBuild(build, availableParallelism());
}

export function judgeNativeBuild(build: NativeBuild, cores: number): Check {
  const finding = `${describeNativeBuild(build)}: ${build.instructions.join(', ')}`;
  if (build.kind === 'local build' || build.device !== 'cpu' || build.openMp || cores === 1)
    return ok('native', finding);
  return warn(
    'native',
    finding,
    `a build of your own adds OpenMP, which was nowhere clearly faster on our machine and may be on yours (bench/README.md#native-builds); ${buildAdvice()}`,
  );
}

function buildAdvice(): string {
  const command =
    'run: npx chairlift build-native, compare: npm run bench:threads, go back: --native prebuilt';
  const missing = missingBuildTools();
  return missing.length === 0 ? command : `${missing.join(' ')} Then ${command}`;
}
