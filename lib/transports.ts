/**
 * The transports: how ranks reach their PMI server. This table is the TypeScript half of a transport; the C++ half is in
 * native/runtime/transport.cpp. native/runtime/transport.h explains how to add one.
 */

/** How ranks reach their server: an inherited fd, TCP on 127.0.0.1, or a unix socket in a private folder. */
export type PmiTransport = 'fd' | 'tcp' | 'unix';

interface Transport {
  /** The name in the output of `wireup run --info`. */
  readonly title: string;
  /** True: ranks inherit their connection. False: they connect to an address. */
  readonly inherited: boolean;
  /** The address on which the server of a job listens, or `private`: a socket in a private folder. */
  readonly listen?: string;
  /** MPI libraries cannot read such an address in PMI_PORT, so wireup-exec runs before each rank's program and connects. */
  readonly shim: boolean;
  /** True: the option `ports` of launch() has an effect. */
  readonly ports: boolean;
  /** True: `wireup bench` has a floor for it (native/tools/bench/echo.cpp). */
  readonly floor: boolean;
}

export const transports: Readonly<Record<PmiTransport, Transport>> = {
  fd: { title: 'an inherited fd', inherited: true, shim: false, ports: false, floor: true },
  tcp: {
    title: 'TCP (host:port)',
    inherited: false,
    listen: 'tcp://127.0.0.1:0',
    shim: false,
    ports: true,
    floor: true,
  },
  unix: {
    title: 'a unix socket',
    inherited: false,
    listen: 'private',
    shim: true,
    ports: false,
    floor: true,
  },
};

export const transportNames = Object.keys(transports) as readonly PmiTransport[];
