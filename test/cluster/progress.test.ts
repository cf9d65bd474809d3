// Progress on a terminal is one line that changes, fits and is taken away at the end; in a log it is a plain line now and then; what is quick shows nothing.
import assert from 'node:assert/strict';
import { Progress } from '../../src/cluster/progress.js';

function setUp(columns: number | null): {
  progress: Progress;
  drawn: string[];
  said: string[];
  at: (ms: number) => void;
} {
  const drawn: string[] = [];
  const said: string[] = [];
  let nowMs = 0;
  const terminal = columns === null ? null : { columns, write: (text: string) => drawn.push(text) };
  const progress = new Progress({ terminal, say: (line) => said.push(line), now: () => nowMs });
  return { progress, drawn, said, at: (ms) => (nowMs = ms) };
}

describe('progress', () => {
  const step = (done: number, total: number | null = 1000): { what: string; done: number; total: number | null; unit: string } => ({ what: 'node 1', done, total, unit: 'pages' }); // prettier-ignore

  it('draws over one line of a terminal, and clears it', () => {
    const { progress, drawn, said, at } = setUp(80);
    progress.report(step(0));
    at(800);
    progress.report(step(250));
    at(820);
    progress.report(step(260)); // too soon
    at(1000);
    progress.report(step(500));
    progress.end();
    progress.end();
    assert.deepEqual(drawn, [
      '\r\x1b[Knode 1 [######..................] 250 of 1000 pages (25 %)',
      '\r\x1b[Knode 1 [############............] 500 of 1000 pages (50 %)',
      '\r\x1b[K',
    ]);
    assert.deepEqual(said, []);
  });

  it('never is wider than the terminal', () => {
    const { progress, drawn, at } = setUp(30);
    progress.report(step(0));
    at(5000);
    progress.report(step(999));
    assert.equal(drawn[0]!.length, '\r\x1b[K'.length + 29);
  });

  it('without a terminal is a line every ten seconds, and without a total a count', () => {
    const { progress, drawn, said, at } = setUp(null);
    for (let ms = 0; ms <= 25_000; ms += 500) {
      at(ms);
      progress.report(step(ms / 25, null));
    }
    progress.end();
    assert.deepEqual(said, ['node 1: 400 pages', 'node 1: 800 pages']);
    assert.deepEqual(drawn, []);
  });

  it('of what is quick shows nothing', () => {
    const { progress, drawn, said, at } = setUp(80);
    for (const ms of [0, 300, 600]) {
      at(ms);
      progress.report(step(ms));
    }
    progress.end();
    assert.deepEqual([drawn, said], [[], []]);
  });
});
