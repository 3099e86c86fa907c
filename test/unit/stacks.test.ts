// What debuggers print, and how ranks with equal stacks are joined.

import { expect, it } from 'vitest';

import { groupStacks, parseStack } from '../../lib/stacks';

it.each([
  [
    'gdb',
    `[Thread debugging using libthread_db enabled]
0x00007f12 in __GI___libc_read (fd=0) at ../sysdeps/unix/sysv/linux/read.c:26
#0  0x00007f12 in __GI___libc_read (fd=0) at ../sysdeps/unix/sysv/linux/read.c:26
#1  0x000055aa in block (what=0x7ffd "read") at stuck.c:17
#2  main (argc=4) at stuck.c:30
[Inferior 1 (process 5) detached]
`,
    ['read', 'block', 'main'],
  ],
  [
    'eu-stack',
    `PID 5 - process
TID 5:
#0  0x00007f12 clock_nanosleep@@GLIBC_2.17
#1  0x00007f13 __nanosleep
#2  0x000055aa ns::work(int)
#3  0x000055ac
#4  0x000055ab main
`,
    ['clock_nanosleep', 'nanosleep', 'ns::work(int)', '??', 'main'],
  ],
  [
    'py-spy',
    `Process 5: python3 model.py
Python v3.11.2 (/usr/bin/python3.11)

Thread 5 (active): "MainThread"
    work (model.py:12)
    <module> (model.py:20)
Thread 6 (idle): "helper"
    wait (threading.py:320)
`,
    ['work', '<module>'],
  ],
  ['nothing', 'ptrace: Operation not permitted.\n', []],
])('reads the stack that %s prints', (_, text, frames) => {
  expect(parseStack(text)).toEqual(frames);
});

it('joins ranks in the same MPI function, whatever they do inside of it', () => {
  const stack = (...frames: string[]): { frames: string[] } => ({ frames });
  expect(
    groupStacks([
      { rank: 0, stack: stack('poll', 'progress', 'PMPI_Allreduce', 'step', 'main') },
      { rank: 1, stack: stack('read', 'step', 'main') },
      { rank: 2, stack: stack('progress', 'MPI_Allreduce', 'step', 'main') },
      { rank: 3, stack: { frames: [], fault: 'not permitted' } },
    ]),
  ).toEqual([
    { what: 'MPI_Allreduce', ranks: '0,2', count: 2, frames: ['MPI_Allreduce', 'step', 'main'] },
    { what: 'read()', ranks: '1', count: 1, frames: ['read', 'step', 'main'] },
    { what: 'not permitted', ranks: '3', count: 1, frames: [] },
  ]);
});
