import { describe, expect, test } from 'vitest';
import { cuttings, play } from '../support/play';
import { parseTranscripts, readTranscripts } from '../support/transcript';

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

test('a server that is late fails the transcript, and the failure names the line', async () => {
  const page = ['```pmi size=2', 'C0: cmd=init pmi_version=1 pmi_subversion=1', 'S0: [close]', '```'].join(
    '\n',
  );
  await expect(play(parseTranscripts('page', page)[0]!, 'tcp', 'line by line', 100)).rejects.toThrow(
    'not finished after 100 ms; it waits for S0: [close]',
  );
});

const other = (...lines: string[]): Parameters<typeof play>[0] =>
  parseTranscripts('page', ['```pmi server=other', ...lines, '```'].join('\n'))[0]!;

test.each(cuttings)('answers of another server may differ as wireup replay allows, %s', async (cutting) => {
  const transcript = other(
    'C: cmd=init pmi_version=1 pmi_subversion=1',
    'S: cmd=response_to_init pmi_subversion=1 pmi_version=1',
    'C: cmd=get_my_kvsname',
    'S: cmd=my_kvsname kvsname=theirs',
    'C: cmd=garbage',
    'C: cmd=get kvsname={kvsname} key=none',
    'S: cmd=get_result rc=14 msg=no such key',
    'C: cmd=finalize',
    'S: cmd=finalize_ack',
    'C: [eof]',
  );
  await play(transcript, 'tcp', cutting);
});

test.each(cuttings)('an answer that a client relies on may not, %s', async (cutting) => {
  const transcript = other(
    'C: cmd=init pmi_version=1 pmi_subversion=1',
    'S: cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0',
    'C: cmd=get kvsname={kvsname} key=none',
    'S: cmd=get_result rc=0 msg=success value=x',
    'C: [eof]',
    'E: lost rank=0',
  );
  await expect(play(transcript, 'tcp', cutting)).rejects.toThrow(/^the answer to cmd=get .* differs: /);
});
