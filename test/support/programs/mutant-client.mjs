// A PMI-1 client that keeps the rules, except for the fault that its argument names.
import { connect, Socket } from 'node:net';

const fault = process.argv[2];
const { PMI_FD, PMI_PORT, PMI_ID } = process.env;
const socket =
  PMI_FD === undefined
    ? connect(Number(PMI_PORT.split(':')[1]), PMI_PORT.split(':')[0])
    : new Socket({ fd: Number(PMI_FD) });
socket.setEncoding('latin1');
socket.on('end', () => process.exit(1));

let received = '';
let wake = () => {};
socket.on('data', (text) => {
  // The fault `read`: one read is one reply.
  if (fault === 'read' && !text.endsWith('\n')) process.exit(1);
  received += text;
  wake();
});

async function line() {
  while (!received.includes('\n')) await new Promise((resolve) => (wake = resolve));
  const end = received.indexOf('\n');
  const text = received.slice(0, end);
  received = received.slice(end + 1);
  return text;
}

const write = (text) => socket.write(`${text}\n`);

/** The attributes of the reply. */
async function ask(request) {
  write(request);
  const text = await line();
  const value = /(?:^| )value=(.*)$/.exec(text)?.[1];
  const words = text.split(/ +/).filter((word) => word.includes('='));
  const reply = Object.fromEntries(
    words.map((word) => [word.split('=')[0], word.slice(word.indexOf('=') + 1)]),
  );
  if (value !== undefined) reply.value = value.replace(/ found=TRUE$/, '');
  if (fault === 'rc' && reply.cmd === 'put_result' && reply.rc === undefined) process.exit(1);
  if (fault === 'msg' && reply.msg !== undefined && reply.cmd !== 'get_result' && reply.cmd !== 'put_result')
    process.exit(1);
  if (fault === 'order' && text.split(' ')[1]?.startsWith('vallen_max')) process.exit(1);
  if (fault === 'extra' && reply.x_check !== undefined) process.exit(1);
  return reply;
}

const failed = (reply) => reply.rc !== undefined && Number(reply.rc) !== 0;

if (PMI_FD === undefined) {
  write(`cmd=initack pmiid=${fault === 'pmiid' ? 'other' : PMI_ID}`);
  for (let i = 0; i < 4; ++i) await line();
}
if (fault === 'first') await ask('cmd=get_maxes');
await ask('cmd=init pmi_version=1 pmi_subversion=1');
const maxes = await ask('cmd=get_maxes');
const { kvsname } = await ask('cmd=get_my_kvsname');
const name = fault === 'kvsname' ? 'other' : kvsname;
const put = async (key, value) => {
  const reply = await ask(`cmd=put kvsname=${name} key=${key} value=${value}`);
  if (failed(reply) && fault !== 'error') process.exit(1);
};
await put(fault === 'prefix' ? 'PMI_card' : 'card', 'ace');
if (fault === 'twice') await put('card', 'king');
if (fault === 'key') await put('k'.repeat(Number(maxes.keylen_max)), 'x');
if (fault === 'value') await put('long', 'v'.repeat(Number(maxes.vallen_max)));
if (fault === 'characters') await put('blank', 'two words');
if (fault === 'malformed') write('get_appnum');
if (fault === 'command') await ask('cmd=unknown_command');
if (fault === 'pipeline') {
  write('cmd=get_appnum\ncmd=get_universe_size');
  await line();
  await line();
}
await ask('cmd=barrier_in');
const { value: mapping } = await ask(`cmd=get kvsname=${name} key=PMI_process_mapping`);
if (fault === 'mapping' && mapping === '') process.exit(1);
if (fault !== 'unfinished') await ask('cmd=finalize');
if (fault === 'late') write('cmd=get_appnum');
socket.end(() => process.exit(fault === 'run' ? 1 : 0));
