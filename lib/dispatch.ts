/** Hands each notice of the addon to the object whose handle it is for, in the order they were made. */
import { native, type NativeNotice } from './native';

type Handler = (notice: NativeNotice) => void;

const handlers = new Map<number, Handler>();
let started = false;

/** Before anything native that is told by notices, or lives on the reactor. */
export function startDispatch(): void {
  if (started) return;
  native.start(dispatch);
  // After process.exit() and uncaught errors Node tears no environment down: the folders of sockets would stay.
  process.once('exit', () => native.shutdown());
  started = true;
}

/**
 * Opens a handle and follows it until its `closed` notice, which is the last.
 *
 * @param open starts something native and returns its handle
 */
export function follow(open: () => number, handler: Handler): number {
  startDispatch();
  const handle = open();
  handlers.set(handle, handler);
  return handle;
}

function dispatch(batch: NativeNotice[], more: boolean): void {
  // Signals and timers have their turn between two batches, however many there are.
  if (more) setImmediate(native.deliver);
  for (const notice of batch) {
    const handler = handlers.get(notice.handle);
    if (notice.type === 'closed') handlers.delete(notice.handle);
    handler?.(notice);
  }
}
