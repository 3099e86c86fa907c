import { join } from 'node:path';
import type { NativeMessage } from '../../lib/native';

/** The table of messages as the addon has it. */
export function messageTable(): NativeMessage[] {
  const path = join(__dirname, '../../build/Release/wireup.node');
  return (require(path) as { messageTable(): NativeMessage[] }).messageTable();
}

/** The README's table of commands: every request, what it takes, and what becomes of it. */
export function readmeTable(): string {
  const rows = messageTable()
    .filter(({ direction }) => direction === 'to-server')
    .map(({ v1, attributes, reply, name, support, source, form }) => {
      const takes = attributes.map((attribute) => (attribute.presence === 'required' ? attribute.name : `[${attribute.name}]`));
      const answer = reply === name ? '-' : messageTable().find((message) => message.name === reply)!.v1;
      const command = form === 'block' ? `mcmd=${v1}` : `cmd=${v1}`;
      return `| \`${command}\` | ${takes.join(' ')} | ${answer === '-' ? '-' : `\`${answer}\``} | ${support === 'full' ? 'yes' : 'refused, rc=-1'} | ${source} |`;
    });
  return ['| command | takes | answer | supported | defined by |', '| --- | --- | --- | --- | --- |', ...rows].join('\n');
}
