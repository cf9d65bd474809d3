/** Colours of the line being typed: they add nothing but colours, and only where a terminal wants them. */
import assert from 'node:assert/strict';
import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { highlight } from '../../src/psql/highlight.js';
import { decodeText, encodeText } from '../../src/psql/text.js';

const ESC = String.fromCharCode(27);

describe('highlight', () => {
  it('paints keywords, strings, numbers, names, commands and comments', () => {
    const line = `select 'it''s', 42, "Name", :var from t \\gx -- done`;
    const painted = highlight(line, 'ready');
    assert.equal(stripVTControlCharacters(painted), line);
    for (const [code, text] of [
      [94, 'select'],
      [32, "'it''s'"],
      [36, '42'],
      [36, '"Name"'],
      [33, ':var'],
      [94, 'from'],
      [35, '\\gx'],
      [90, '-- done'],
    ] as const)
      assert.ok(painted.includes(`${ESC}[${code}m${text}${ESC}[39m`), text);
    assert.ok(painted.includes(' t '), 'what is no keyword stays as it is');
  });

  it('goes on with what the line before left open', () => {
    assert.equal(highlight("b' from t", 'single-quote'), `${ESC}[32mb'${ESC}[39m ${ESC}[94mfrom${ESC}[39m t`);
    assert.equal(highlight('still */ 1', 'comment'), `${ESC}[90mstill */${ESC}[39m ${ESC}[36m1${ESC}[39m`);
  });

  it('changes no character of any line', () => {
    const states = [
      'ready',
      'continue',
      'paren',
      'single-quote',
      'double-quote',
      'dollar-quote',
      'comment',
    ] as const;
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom("'", '"', '$$', '$a$', '/*', '*/', '--', '\\', ':', 'select', "e'", '漢', '1e5', ' '),
    );
    fc.assert(
      fc.property(fc.array(piece), fc.constantFrom(...states), (pieces, state) => {
        const line = pieces.join('').replaceAll(ESC, '').replaceAll('\u009b', '');
        assert.equal(stripVTControlCharacters(highlight(line, state)), line);
      }),
      { seed: 20 },
    );
  });
});

describe('text of scripts', () => {
  it('keeps every byte, text or not', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (array) => {
        const bytes = Buffer.from(array);
        assert.deepEqual(Buffer.from(encodeText(decodeText(bytes))), bytes);
      }),
      { seed: 21 },
    );
    assert.equal(decodeText(Buffer.from('é漢😀')), 'é漢😀');
    assert.equal(encodeText('é漢😀'), 'é漢😀');
  });
});
