// Opens pages in Debian's chromium without a window, and asks what stands in them.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { installed } from './installed';

/** The colour schemes, with chromium's numbers for them. */
const schemes = { dark: 0, light: 1 } as const;
export type Scheme = keyof typeof schemes;

/**
 * Opens a page and returns what an expression evaluates to in it, by JSON.
 *
 * @param width of the page in pixels. It stands in a frame, because chromium's window has at least 500
 */
export function inBrowser<T>(page: string, width: number, scheme: Scheme, expression: string): T {
  const folder = mkdtempSync(join(tmpdir(), 'browser-'));
  try {
    const probe = `<script>addEventListener('load', () => parent.postMessage(JSON.stringify(${expression}), '*'))</script>`;
    writeFileSync(join(folder, 'page.html'), `${readFileSync(page, 'utf8')}${probe}`);
    const frame = join(folder, 'frame.html');
    writeFileSync(
      frame,
      `<!doctype html><script>addEventListener('message', ({ data }) => { document.getElementById('answer').textContent = encodeURIComponent(data) })</script>
<pre id="answer"></pre><iframe src="page.html" style="width: ${width}px; height: 4000px; border: 0"></iframe>`,
    );
    const { stdout, stderr } = spawnSync(
      installed('chromium'),
      [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        `--user-data-dir=${join(folder, 'profile')}`,
        '--window-size=2000,4200',
        `--blink-settings=preferredColorScheme=${schemes[scheme]}`,
        '--virtual-time-budget=10000',
        '--dump-dom',
        pathToFileURL(frame).href,
      ],
      {
        encoding: 'utf8',
        timeout: 50_000,
        maxBuffer: 1 << 26,
        // It writes to these folders even with a folder of the user's data.
        env: { PATH: process.env['PATH'], HOME: folder, XDG_CONFIG_HOME: folder, XDG_CACHE_HOME: folder },
      },
    );
    const answer = /<pre id="answer">([^<]+)</.exec(stdout)?.[1];
    if (answer === undefined) throw new Error(`the page did not answer\n${stderr}`);
    return JSON.parse(decodeURIComponent(answer)) as T;
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
