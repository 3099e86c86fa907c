import { describe, expect, test } from 'vitest';
import { EventHub } from '../../lib/event-hub';
import { MAX_WAITING_EVENTS } from '../../lib/limits';

interface Numbered {
  type: 'single' | 'repeated' | 'other';
  number: number;
}

const single = (number: number): Numbered => ({ type: 'single', number });
const repeated = (number: number): Numbered => ({ type: 'repeated', number });

async function openHub(
  options?: ConstructorParameters<typeof EventHub<Numbered>>[0],
): Promise<EventHub<Numbered>> {
  const hub = new EventHub<Numbered>(options);
  hub.open();
  await new Promise((resolve) => setImmediate(resolve));
  return hub;
}

test('next() may be called again before its promise has settled', async () => {
  const hub = await openHub();
  const events = hub.read();
  const pending = [events.next(), events.next(), events.next()];
  hub.push(single(1));
  hub.push(single(2));
  hub.end();
  expect(await Promise.all(pending)).toEqual([
    { done: false, value: single(1) },
    { done: false, value: single(2) },
    { done: true, value: undefined },
  ]);
});

test('a reader far behind catches up in linear time', async () => {
  const hub = await openHub();
  const events = hub.read();
  const count = 300_000;
  for (let i = 0; i < count; i++) hub.push(single(i));
  hub.end();
  const begin = performance.now();
  let next = 0;
  for await (const event of events)
    if (event.type === 'missed' || event.number !== next++)
      throw new Error(`${JSON.stringify(event)} came as number ${next - 1}`);
  expect(next).toBe(count);
  // It takes half a second. If each event moved all events behind it, it would take a minute.
  expect(performance.now() - begin).toBeLessThan(15_000);
});

describe('a reader that does not read', () => {
  test('keeps a bounded number of repeated events and gets their number in place of the rest', async () => {
    const hub = await openHub();
    const events = hub.read();
    for (let i = 0; i < MAX_WAITING_EVENTS + 3; i++) hub.push(repeated(i), true);
    hub.push(single(0));
    hub.miss('repeated', 7);
    hub.push(repeated(-1), true);
    for (let i = 0; i < MAX_WAITING_EVENTS; i++) expect((await events.next()).value).toEqual(repeated(i));
    // There is room again, so the hub keeps this event, behind the notice of the missed ones.
    hub.push(repeated(-2), true);
    hub.end();
    const rest: unknown[] = [];
    for await (const event of events) rest.push(event);
    expect(rest).toEqual([{ type: 'missed', of: 'repeated', count: 11 }, single(0), repeated(-2)]);
  });

  test('misses no event that does not repeat, and no event of another type', async () => {
    const hub = await openHub();
    const events = hub.read();
    for (let i = 0; i < 2 * MAX_WAITING_EVENTS; i++) {
      hub.push(repeated(i), true);
      hub.push(single(i));
    }
    hub.push({ type: 'other', number: 0 }, true);
    hub.end();
    const counts = new Map<string, number>();
    for await (const event of events)
      counts.set(event.type, (counts.get(event.type) ?? 0) + (event.type === 'missed' ? event.count : 1));
    expect(Object.fromEntries(counts)).toEqual({
      repeated: MAX_WAITING_EVENTS,
      single: 2 * MAX_WAITING_EVENTS,
      missed: MAX_WAITING_EVENTS,
      other: 1,
    });
  });

  test('does not delay other readers', async () => {
    const hub = await openHub();
    hub.read();
    const quick = hub.read();
    for (let i = 0; i < 2 * MAX_WAITING_EVENTS; i++) {
      hub.push(repeated(i), true);
      expect((await quick.next()).value).toEqual(repeated(i));
    }
  });
});

test('the hub also bounds the events before it is openHub', async () => {
  const hub = new EventHub<Numbered>();
  const events = hub.read();
  for (let i = 0; i < MAX_WAITING_EVENTS + 5; i++) hub.push(repeated(i), true);
  hub.open();
  hub.end();
  let count = 0;
  let last: unknown;
  for await (const event of events) {
    count++;
    last = event;
  }
  expect([count, last]).toEqual([MAX_WAITING_EVENTS + 1, { type: 'missed', of: 'repeated', count: 5 }]);
});

test('a failure ends every iteration after the last event, and is thrown once', async () => {
  const hub = await openHub();
  const early = hub.read();
  const left = hub.read();
  hub.push(single(1));
  await left.return?.();
  hub.end(new Error('the reason'));
  expect(await early.next()).toEqual({ done: false, value: single(1) });
  for (const events of [early, hub.read()]) {
    await expect(events.next()).rejects.toThrow('the reason');
    expect(await events.next()).toEqual({ done: true, value: undefined });
  }
  expect(await left.next()).toEqual({ done: true, value: undefined });
});

test('a reader of some types gets only these, and onInterest receives the types that any reader wants', async () => {
  const interests: (string[] | undefined)[] = [];
  const unread: Numbered[] = [];
  const hub = await openHub({
    onUnread: (event) => unread.push(event),
    onInterest: (types) => interests.push(types && [...types]),
  });
  const events = hub.read(undefined, ['single']);
  hub.push(repeated(1), true);
  hub.miss('repeated', 5);
  hub.push(single(2));
  expect((await events.next()).value).toEqual(single(2));
  expect(unread).toEqual([repeated(1)]);
  const all = hub.read();
  await all.return!();
  await events.return!();
  expect(interests).toEqual([[], ['single'], undefined, ['single'], []]);
});

test('onUnread receives the events that a reader leaves unread, unless another reader gets them', async () => {
  const unread: Numbered[] = [];
  const hub = await openHub({ onUnread: (event) => unread.push(event) });
  const all = hub.read();
  const some = hub.read(undefined, ['repeated']);
  hub.push(single(1));
  hub.push(repeated(2), true);
  hub.push(single(3));
  expect((await all.next()).value).toEqual(single(1));
  await all.return!();
  expect(unread).toEqual([single(3)]);
  await some.return!();
  expect(unread).toEqual([single(3), repeated(2)]);
});
