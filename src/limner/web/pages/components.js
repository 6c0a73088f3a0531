// Post-processing of a mask, as limner does it. Neighbours share a side.

// Numbers the connected parts of what is marked from 1 on, and counts their pixels.
function label(marked, width) {
  const parts = new Int32Array(marked.length);
  const sizes = [0];
  const waiting = [];
  for (let start = 0; start < marked.length; start++) {
    if (!marked[start] || parts[start]) continue;
    const part = sizes.push(0) - 1;
    parts[start] = part;
    waiting.push(start);
    while (waiting.length) {
      const pixel = waiting.pop();
      const column = pixel % width;
      sizes[part]++;
      for (
        const next of [
          column > 0 ? pixel - 1 : -1,
          column < width - 1 ? pixel + 1 : -1,
          pixel - width,
          pixel + width,
        ]
      ) {
        if (next < 0 || next >= marked.length || !marked[next] || parts[next]) continue;
        parts[next] = part;
        waiting.push(next);
      }
    }
  }
  return { parts, sizes };
}

// Keeps the largest part, or those of at least 0.1 % of the image.
function removeParts(inside, width, steps) {
  const { parts, sizes } = label(inside, width);
  if (sizes.length <= 2) return inside;
  const largest = sizes.indexOf(Math.max(...sizes.slice(1)), 1);
  let kept = sizes.map((size, part) => part > 0 && size >= 0.001 * inside.length);
  if (steps.keep_largest || !kept.some(Boolean)) kept = sizes.map((_, part) => part === largest);
  return inside.map((_, pixel) => kept[parts[pixel]] ? 1 : 0);
}

// Fills what is not marked and does not reach the image's edge.
function fillHoles(inside, width) {
  const { parts, sizes } = label(inside.map((value) => 1 - value), width);
  const open = new Set();
  const height = inside.length / width;
  for (let column = 0; column < width; column++) {
    open.add(parts[column]).add(parts[(height - 1) * width + column]);
  }
  for (let row = 0; row < height; row++) {
    open.add(parts[row * width]).add(parts[(row + 1) * width - 1]);
  }
  const hole = sizes.map((_, part) => part > 0 && !open.has(part));
  return inside.map((value, pixel) => value || hole[parts[pixel]] ? 1 : 0);
}

// Applies the steps to each class but the background; what is removed becomes class 0.
function postprocess(classIndex, width, names, steps) {
  if (!Object.values(steps).some(Boolean)) return classIndex;
  const result = classIndex.slice();
  names.forEach((name, index) => {
    if (name === 'background') return;
    const before = result.map((value) => value === index ? 1 : 0);
    let after = before;
    if (steps.keep_largest || steps.remove_small) after = removeParts(after, width, steps);
    if (steps.fill_holes) after = fillHoles(after, width);
    for (let pixel = 0; pixel < result.length; pixel++) {
      if (before[pixel] && !after[pixel]) result[pixel] = 0;
    }
    for (let pixel = 0; pixel < result.length; pixel++) {
      if (after[pixel] && result[pixel] === 0) result[pixel] = index;
    }
  });
  return result;
}
