/** The modules that dist/run-hosts.js takes from dist/run.js, so that neither file has them twice. See lib/build.mjs. */
export * as hostList from '../host-list';
export * as hostPlacement from '../host-placement';
export * as launchers from '../launchers';
export * as limits from '../limits';
export * as native from '../native';
export * as options from '../options';
