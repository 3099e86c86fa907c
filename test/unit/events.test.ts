import { expect, test } from 'vitest';
import { EventHub } from '../../lib/events';

async function opened(): Promise<EventHub<number>> {
  const hub = new EventHub<number>();
  hub.open();
  await new Promise((resolve) => setImmediate(resolve));
  return hub;
}

test('next() may be called again before it has settled', async () => {
  const hub = await opened();
  const events = hub.read();
  const asked = [events.next(), events.next(), events.next()];
  hub.push(1);
  hub.push(2);
  hub.end();
  expect(await Promise.all(asked)).toEqual([
    { done: false, value: 1 },
    { done: false, value: 2 },
    { done: true, value: undefined },
  ]);
});

test('a reader that is far behind catches up in linear time', async () => {
  const hub = await opened();
  const events = hub.read();
  const count = 300_000;
  for (let i = 0; i < count; i++) hub.push(i);
  hub.end();
  const begin = performance.now();
  let next = 0;
  for await (const event of events) if (event !== next++) throw new Error(`${event} came as number ${next - 1}`);
  expect(next).toBe(count);
  // Half a second; a minute where each event moves all behind it.
  expect(performance.now() - begin).toBeLessThan(15_000);
});
