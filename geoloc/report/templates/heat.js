"use strict";
// The heatmap: colours stretched over the share that is shown, its legend, outline and hatching.
const createHeat = (data, map) => {
  const $ = (id) => document.getElementById(id);
  const canvas = $("heat"), slider = $("best"), { bounds, width, height, shares } = data.heat;
  const MOST_LINES = 30000;
  const step = (bounds[2] - bounds[0]) / width;
  const percent = (share) => `${+(100 * share).toPrecision(share < 0.1 ? 1 : 2)} %`;
  const layers = [{ ...data.heat, measure: data.measure }, ...(data.models ?? [])];
  let current = layers[0], levels = null, outline = [], likely = [], gaps = null, hatching = null;

  const worst = () => +slider.value; // the last level that is shown
  const palette = () => data.heat.palettes[$("study").checked ? "study" : "hot"];
  const color = (level) => palette()[Math.round(((level - 1) / Math.max(worst() - 1, 1)) * 254)];

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function paint() {
    const context = canvas.getContext("2d"), image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer), table = new Uint32Array(256);
    for (let level = 1; level <= worst(); level++) {
      const [r, g, b] = color(level);
      table[level] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
    }
    for (let i = 0; i < pixels.length; i++) pixels[i] = table[levels[i]];
    context.putImageData(image, 0, 0);
    paintLegend();
  }

  function paintLegend() {
    const context = $("ramp").getContext("2d"), shown = shares[worst() - 1];
    for (let i = 0; i < 255; i++) {
      context.fillStyle = `rgb(${palette()[i].join()})`;
      context.fillRect(i, 0, 1, 1);
    }
    $("best-value").textContent = percent(shown);
    for (const button of document.querySelectorAll("[data-share]")) {
      button.setAttribute("aria-pressed", String(levelOf(+button.dataset.share) === worst()));
    }
    const ticks = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1].filter((share) => share < 0.7 * shown);
    $("ticks").replaceChildren(...[...ticks, shown].reverse().reduce((kept, share) => {
      const at = 100 * Math.sqrt(share / shown);
      if (kept.length && kept.at(-1).at - at < 20) return kept;
      const label = document.createElement("small");
      label.textContent = percent(share);
      label.style.left = `${at}%`;
      label.title = bound(levelOf(share));
      return [...kept, Object.assign(label, { at })];
    }, []));
  }

  const levelOf = (share) => shares.findIndex((s) => s >= 0.999 * share) + 1 || shares.length;
  const bound = (level) => {
    const edge = current.edges[level - 1];
    const isProbability = current.measure === "probability"; // of which maps hold -log
    return isProbability ? `probability ≥ ${percent(Math.exp(-edge))}` : `${current.measure} ≤ ${edge.toPrecision(4)}`;
  };

  function levelAt(x, y) {
    const col = Math.floor((x - bounds[0]) / step), row = Math.floor((bounds[3] - y) / step);
    return levels && col >= 0 && row >= 0 && col < width && row < height ? levels[row * width + col] : 0;
  }

  function describe(x, y) {
    const level = levelAt(x, y);
    if (!level) return "not searched";
    const whose = current === layers[0] ? "" : `${current.name} alone: `;
    return `${whose}${bound(level)}, best ${percent(shares[level - 1])}`;
  }

  // Runs of cell edges between the best 1 % and the rest: [col, row, col, row] each.
  function trace(limit) {
    const best = (row, col) => {
      const level = row >= 0 && col >= 0 && row < height && col < width ? levels[row * width + col] : 0;
      return level > 0 && level <= limit;
    };
    const runs = [];
    const along = (lines, cells, differs, segment) => {
      for (let line = 0; line <= lines; line++) {
        for (let start = -1, cell = 0; cell <= cells; cell++) {
          const edge = cell < cells && differs(line, cell);
          if (edge && start < 0) start = cell;
          if (!edge && start >= 0) { runs.push(segment(line, start, cell)); start = -1; }
        }
      }
    };
    along(height, width, (r, c) => best(r - 1, c) !== best(r, c), (r, from, to) => [from, r, to, r]);
    along(width, height, (c, r) => best(r, c - 1) !== best(r, c), (c, from, to) => [c, from, c, to]);
    return runs;
  }

  // Only what is in sight; speckles by the ten thousand would be finer than the lines.
  function paintOutline(context, toScreen) {
    if (likely.length && $("show-calibrated").checked) {
      paintLines(context, toScreen, likely, [["#fff", 3], ["#0b57d0", 1.6]]);
    }
    if ($("show-outline").checked) paintLines(context, toScreen, outline, [["#fff", 3.4], ["#000", 1.4]]);
  }

  function paintLines(context, toScreen, lines, pens) {
    if (canvas.hidden) return;
    const [x0, y0] = toScreen(bounds[0], bounds[3]), pixel = step * map.view.scale;
    const { clientWidth: wide, clientHeight: high } = map.element, seen = lines.filter(([a, b, c, d]) =>
      x0 + c * pixel > 0 && x0 + a * pixel < wide && y0 + d * pixel > 0 && y0 + b * pixel < high);
    if (seen.length > MOST_LINES) return;
    context.beginPath();
    for (const [a, b, c, d] of seen) {
      context.moveTo(x0 + a * pixel, y0 + b * pixel);
      context.lineTo(x0 + c * pixel, y0 + d * pixel);
    }
    for (const [style, lineWidth] of pens) {
      Object.assign(context, { strokeStyle: style, lineWidth, lineCap: "square" });
      context.stroke();
    }
  }

  // --- cells that were not searched: a pattern in pixels of the screen, cut out by their shape ---
  function shape(lacking) {
    const mask = Object.assign(document.createElement("canvas"), { width, height });
    const image = new ImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < pixels.length; i++) if (lacking[i]) pixels[i] = 0xff000000;
    mask.getContext("2d").putImageData(image, 0, 0);
    return mask;
  }

  function hatch(context) {
    const tile = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
    const pen = tile.getContext("2d");
    Object.assign(pen, { fillStyle: "#0005", strokeStyle: "#fffb", lineWidth: 1.3 });
    pen.fillRect(0, 0, 8, 8);
    pen.stroke(new Path2D("M-2 2L2 -2M-2 10L10 -2M6 10L10 6"));
    return context.createPattern(tile, "repeat");
  }

  function paintGaps(context, toScreen) {
    const [x, y] = toScreen(bounds[0], bounds[3]), pixel = step * map.view.scale;
    context.fillStyle = hatching ??= hatch(context);
    context.fillRect(0, 0, map.element.clientWidth, map.element.clientHeight);
    Object.assign(context, { imageSmoothingEnabled: false, globalCompositeOperation: "destination-in" });
    context.drawImage(gaps, x, y, width * pixel, height * pixel);
    context.globalCompositeOperation = "source-over";
  }

  // Of several models: all together, or one of them alone.
  async function show(number) {
    const layer = layers[number], unpacked = layer.unpacked ??= await unpack(layer.levels);
    current = layer;
    levels = unpacked;
    outline = trace(levelOf(0.01));
  }

  async function load() {
    Object.assign(canvas, { width, height });
    map.addLayer(canvas, bounds, width, height);
    await show(+($("heat-of")?.value ?? 0)); // a browser may remember what was chosen
    if (data.calibrated) likely = trace(levelOf(data.calibrated.share));
    map.addPainter(paintOutline, true);
    if (data.heat.lacking) {
      gaps = shape(await unpack(data.heat.lacking));
      map.addPainter(paintGaps, true); // below all lines
    }
    paint();
    map.redraw();
  }

  slider.addEventListener("input", () => { if (levels) paint(); });
  $("heat-of")?.addEventListener("change", async (event) => {
    await show(+event.target.value);
    paint();
    map.redraw();
  });
  $("study").addEventListener("change", () => { if (levels) paint(); });
  $("show-outline").addEventListener("change", map.redraw);
  $("show-calibrated")?.addEventListener("change", map.redraw);
  $("opacity").addEventListener("input", (event) => { canvas.style.opacity = event.target.value / 100; });
  for (const button of document.querySelectorAll("[data-share]")) {
    button.addEventListener("click", () => {
      slider.value = levelOf(+button.dataset.share);
      if (levels) paint();
    });
  }
  return { load, describe };
};
