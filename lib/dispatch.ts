/** Passes each notice of the addon to the object that owns its handle, in the order of the notices. */
import { native, type NativeOnBatch } from './native';
import type { NativeNotice } from './native-notices';
import { readNotices } from './notice-rows';

type Handler = (notice: NativeNotice) => void;

const handlers = new Map<number, Handler>();
let started = false;

/** Must be called before any addon call that causes notices or uses the reactor. Further calls do nothing. */
export function startDispatch(): void {
  if (started) return;
  native.start(dispatch);
  // Node runs no cleanup hooks after process.exit() and uncaught errors. Without this, folders of sockets
  // would remain.
  process.once('exit', () => native.shutdown());
  started = true;
}

/**
 * Opens a handle and passes its notices to `handler`, until `closed`, which is the last one.
 *
 * @param open calls the addon and returns the handle
 */
export function follow(open: () => number, handler: Handler): number {
  startDispatch();
  const handle = open();
  handlers.set(handle, handler);
  return handle;
}

const dispatch: NativeOnBatch = (count, integers, doubles, values, more) => {
  // Between two batches the event loop runs signal handlers and timers.
  if (more) setImmediate(native.deliver);
  for (const notice of readNotices(count, integers, doubles, values)) {
    const handler = handlers.get(notice.handle);
    if (notice.type === 'closed') handlers.delete(notice.handle);
    handler?.(notice);
  }
};
