// The `install` script of the package: uses the prebuilt binaries if they fit, and compiles otherwise. Prints one line
// that names its choice. With --update, for a checkout, it compiles what has changed.
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { compile, missingPrograms, root } from './compile.mjs';
import { findMisfit, platform, prebuiltFolder } from './prebuilt.mjs';
import { writeCode } from './write-code.mjs';

/** `npm install --build-from-source`, or `--build-from-source=wireup` for this package only. */
function mustCompile() {
  const value = process.env.npm_config_build_from_source ?? '';
  return value === 'true' || value.split(',').includes('wireup');
}

function install() {
  const reason = mustCompile() ? 'npm_config_build_from_source is set' : findMisfit();
  if (reason === undefined) {
    console.log(`wireup: using the prebuilt binaries for ${platform}`);
    // The library prefers build/ to the prebuilt binaries.
    rmSync(join(root, 'build'), { recursive: true, force: true });
    placeStarter(prebuiltFolder);
    return;
  }
  const missing = missingPrograms();
  if (missing.length > 0) {
    throw new Error(
      `cannot be installed: ${reason}, and to compile it these programs are missing: ${missing.join(', ')}`,
    );
  }
  console.log(`wireup: compiling the native parts, which takes one to three minutes (${reason})`);
  compile();
  placeStarter(join(root, 'build/Release'));
}

/** Replaces the stubs of the package, to which package managers have linked the commands, by the starter. */
function placeStarter(folder) {
  const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const file of Object.values(bin)) {
    const command = join(root, file);
    // In a checkout without dist/, lib/build.mjs places the starter.
    if (!existsSync(command)) continue;
    // A rename, because the file may be running, or may be a link into the store of a package manager.
    copyFileSync(join(folder, 'wireup-start'), `${command}.new`);
    renameSync(`${command}.new`, command);
  }
}

try {
  if (process.argv.includes('--update')) {
    compile({ update: true });
    placeStarter(join(root, 'build/Release'));
  } else {
    install();
    writeCode();
  }
} catch (error) {
  console.error(`wireup: ${error.message}`);
  process.exitCode = 1;
}
