// Launches `argv[4...]` as one rank with the library `argv[2]` and reads all events of the job, with a pause of argv[3]
// ms after each barrier if that is not 0. Stops the job at TERM. Prints the state and its resident memory: `running
// BYTES` at the first barrier, `ended BYTES` when the job has ended by itself, `stopped BYTES` after TERM. At the end
// it prints the number of barriers whose events it received, and the number of missed ones.
const { setTimeout: pause } = require('node:timers/promises');

void (async () => {
  const [, , library, milliseconds, program, ...args] = process.argv;
  const job = await require(library).launch({ program, args, ranks: 1, stdout: 'ignore' });
  let end = 'ended';
  process.on('SIGTERM', () => {
    end = 'stopped';
    void job.stop({ grace: 0 });
  });
  void job.result.then(() => console.log(end, process.memoryUsage.rss()));
  let received = 0;
  let missed = 0;
  for await (const event of job.events()) {
    if (event.type === 'missed' && event.of === 'barrier') missed += event.count;
    if (event.type !== 'barrier') continue;
    if (received++ === 0) console.log('running', process.memoryUsage.rss());
    if (end === 'ended' && milliseconds !== '0' && received < 100) await pause(Number(milliseconds));
  }
  console.log(JSON.stringify({ received, missed }));
})();
