import { join } from 'node:path';
import type { NativeMessage } from '../../lib/native';

/** The message table of the addon. */
export function messageTable(): NativeMessage[] {
  const path = join(__dirname, '../../build/Release/wireup.node');
  return (require(path) as { messageTable(): NativeMessage[] }).messageTable();
}

/** The table in docs/wire.md of a version's commands: every request, its attributes, and its reply. */
export function wireTable(version: 'v1' | 'v2'): string {
  const rows = messageTable()
    .filter((message) => message.direction === 'to-server' && message[version] !== '')
    .map(({ [version]: command, attributes, reply, name, support, source, form }) => {
      const takes = attributes
        .filter((attribute) => attribute[version] !== '')
        .map((attribute) =>
          attribute.presence === 'required' ? attribute[version] : `[${attribute[version]}]`,
        );
      const answer =
        reply === name ? '-' : `\`${messageTable().find((message) => message.name === reply)![version]}\``;
      const key = form === 'block' && version === 'v1' ? 'mcmd' : 'cmd';
      return `| \`${key}=${command}\` | ${takes.join(' ')} | ${answer} | ${support === 'full' ? 'yes' : 'refused, rc=-1'} | ${version === 'v2' ? 'pmi-2.0' : source} |`;
    });
  return [
    '| command | takes | answer | supported | defined by |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}

/** The requests of a version by their names on the wire, without those that the server always refuses. */
export function servedCommands(version: 'v1' | 'v2'): string[] {
  return messageTable()
    .filter(({ direction, support }) => direction === 'to-server' && support === 'full')
    .map((message) => message[version])
    .filter((command) => command !== '');
}

/** The table in README.md of the protocols. */
export function protocolTable(): string {
  const row = (name: string, version: 'v1' | 'v2'): string =>
    `| ${name} | ${servedCommands(version)
      .map((command) => `\`${command}\``)
      .join(', ')} |`;
  return [
    '| protocol | requests that the server carries out |',
    '| --- | --- |',
    row('PMI-1.1, PMI-1.2', 'v1'),
    row('PMI-2', 'v2'),
  ].join('\n');
}
