import { describe, expect, test } from 'vitest';
import { cuttings, play, readTranscripts } from '../support/transcript';

const transcripts = readTranscripts();

test('test/vectors has more than 20 transcripts', () => expect(transcripts.length).toBeGreaterThan(20));

describe.each(cuttings)('PmiServer replies to the golden transcripts, %s', (cutting) => {
  const seen = new Map<string, number>();
  for (const transcript of transcripts) {
    const heading = `${transcript.file}: ${transcript.title}`;
    const number = (seen.get(heading) ?? 0) + 1;
    seen.set(heading, number);
    const name = number === 1 ? heading : `${heading} (${number})`;
    test.concurrent(`${name}, tcp`, () => play(transcript, 'tcp', cutting));
    test.concurrent(`${name}, unix`, () => play(transcript, 'unix', cutting));
  }
});
