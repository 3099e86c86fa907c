// An owner that launches `argv[4...]` as one rank with the library `argv[2]` and reads all events of it, each followed by a
// pause of argv[3] ms where that is not 0. At TERM it ends the job. Prints `running` at the first barrier, `ended` and how
// many barriers it was told and how many it missed when the job has ended by itself, `stopped` after TERM.
const { setTimeout: pause } = require('node:timers/promises');

void (async () => {
  const [, , library, milliseconds, program, ...args] = process.argv;
  const job = await require(library).launch({ program, args, ranks: 1, stdout: 'ignore' });
  let end = 'ended';
  process.on('SIGTERM', () => {
    end = 'stopped';
    void job.stop({ grace: 0 });
  });
  void job.result.then(() => console.log(end));
  let told = 0;
  let missed = 0;
  for await (const event of job.events()) {
    if (event.type === 'missed' && event.of === 'barrier') missed += event.count;
    if (event.type !== 'barrier') continue;
    if (told++ === 0) console.log('running');
    if (end === 'ended' && milliseconds !== '0' && told < 100) await pause(Number(milliseconds));
  }
  console.log(JSON.stringify({ told, missed }));
})();
