import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

interface Tool {
  name: string;
  /** Any one of these programs will do. */
  programs: readonly string[];
  debianPackage: string;
}

const buildTools: readonly Tool[] = [
  { name: 'npm', programs: ['npm'], debianPackage: 'npm' },
  { name: 'git', programs: ['git'], debianPackage: 'git' },
  { name: 'cmake', programs: ['cmake'], debianPackage: 'cmake' },
  { name: 'a C++ compiler', programs: ['c++', 'g++', 'clang++', 'cl.exe'], debianPackage: 'g++' },
  { name: 'make or ninja', programs: ['ninja', 'make', 'MSBuild.exe', 'nmake.exe'], debianPackage: 'make' },
];

/** What a source build needs and `searchPath` does not hold, one sentence each. */
export function missingBuildTools(searchPath = process.env.PATH ?? ''): string[] {
  return buildTools
    .filter(({ programs }) => !programs.some((program) => isOnPath(program, searchPath)))
    .map(
      ({ name, debianPackage }) =>
        `Compiling llama.cpp needs ${name}, which is not here (on Debian or Ubuntu: apt-get install ${debianPackage}).`,
    );
}

function isOnPath(program: string, searchPath: string): boolean {
  return searchPath.split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
