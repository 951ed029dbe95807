// A page of an answer, cut into what is drawn and marked.

/**
 * Text of a line in pieces {text, confidence, part}; `part` is the place in `line[level]`.
 * What stands between the parts (spaces) is a piece without confidence.
 */
export function pieces(line, level) {
  const parts = line[level === "lines" ? "characters" : level] ?? [];
  const result = [];
  let at = 0;
  for (const [part, { text, confidence }] of parts.entries()) {
    const start = line.text.indexOf(text, at);
    if (start < 0) {
      return [{ text: line.text, confidence: null, part: null }];
    }
    if (start > at) {
      result.push({ text: line.text.slice(at, start), confidence: null, part: null });
    }
    result.push({ text, confidence, part });
    at = start + text.length;
  }
  if (at < line.text.length) {
    result.push({ text: line.text.slice(at), confidence: null, part: null });
  }
  return result;
}

/** Boxes of a page: {line, part, confidence, points}; part is null for whole lines. */
export function boxes(page, level) {
  return (page.lines ?? []).flatMap((line, index) => {
    const parts = level === "lines" ? null : line[level];
    if (!parts?.length) {
      return [{ line: index, part: null, confidence: line.confidence, points: line.points }];
    }
    return parts.map(({ confidence, points }, part) => ({ line: index, part, confidence, points }));
  });
}

/** Numbers of the pages that were read, as the service takes them: "1-3,7". */
export function pagesRead(pages) {
  const ranges = [];
  for (const { page } of pages.filter(({ error }) => !error)) {
    const last = ranges.at(-1);
    if (last?.end === page - 1) {
      last.end = page;
    } else {
      ranges.push({ start: page, end: page });
    }
  }
  return ranges.map(({ start, end }) => (start === end ? start : `${start}-${end}`)).join(",");
}

/** Indices of lines, row by row. */
export function rows(page) {
  const result = [];
  let last = null;
  for (const [index, line] of (page.lines ?? []).entries()) {
    if (line.row !== last) {
      result.push([]);
      last = line.row;
    }
    result[result.length - 1].push(index);
  }
  return result;
}

/** Is there anything in the line to check: itself, or one of its characters? */
export function isDoubtful({ confidence, characters }, threshold) {
  const isLow = (part) => part.confidence < threshold;
  return confidence < threshold || (characters ?? []).some(isLow);
}

export const percent = (confidence) => Math.floor(100 * confidence);
