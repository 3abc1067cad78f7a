"use strict";
// A map without tiles, servers or libraries: layers in the area's own projected metres.
const createMap = (data) => {
  const $ = (id) => document.getElementById(id);
  const map = $("map"), canvas = $("overlay");
  const [left, bottom, right, top] = data.bounds;
  const view = { x: (left + right) / 2, y: (bottom + top) / 2, scale: 1 }; // centre, px per metre
  const layers = [], points = [], painters = [], clicks = [];
  let queued = false, flight = 0;

  // --- drawing -------------------------------------------------------------------------
  const toScreen = (x, y) => [
    map.clientWidth / 2 + (x - view.x) * view.scale,
    map.clientHeight / 2 - (y - view.y) * view.scale,
  ];
  const toMap = (px, py) => [
    view.x + (px - map.clientWidth / 2) / view.scale,
    view.y - (py - map.clientHeight / 2) / view.scale,
  ];

  function draw() {
    queued = false;
    for (const { element, bounds, width, height } of layers) {
      const [px, py] = toScreen(bounds[0], bounds[3]);
      const sx = ((bounds[2] - bounds[0]) / width) * view.scale;
      const sy = ((bounds[3] - bounds[1]) / height) * view.scale;
      element.style.transform = `matrix(${sx}, 0, 0, ${sy}, ${px}, ${py})`;
      element.style.visibility = "visible";
    }
    for (const point of points) {
      point.screen = toScreen(point.x, point.y);
      point.element.style.transform = `translate(${point.screen[0]}px, ${point.screen[1]}px)`;
    }
    paint();
    drawScale();
  }

  // Lines and hatching are painted in screen pixels, so that they stay thin at every zoom.
  function paint() {
    const ratio = window.devicePixelRatio || 1, width = map.clientWidth, height = map.clientHeight;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    for (const painter of painters) painter(context, toScreen);
  }

  function redraw() {
    if (!queued) requestAnimationFrame(draw);
    queued = true;
  }

  function drawScale() {
    const most = 150 / view.scale, power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].map((m) => m * power).find((m) => m <= most);
    $("scale").style.width = `${length * view.scale}px`;
    $("scale").firstElementChild.textContent = length >= 1000 ? `${length / 1000} km` : `${length} m`;
  }

  // --- moving --------------------------------------------------------------------------
  const scaleOf = ([l, b, r, t]) => 0.96 * Math.min(map.clientWidth / (r - l), map.clientHeight / (t - b));
  const fitScale = () => scaleOf(data.bounds);

  function clampView() {
    view.scale = Math.min(Math.max(view.scale, fitScale() / 3), 20);
    view.x = Math.min(Math.max(view.x, left), right);
    view.y = Math.min(Math.max(view.y, bottom), top);
  }

  function show({ x, y, scale }) {
    flight += 1; // whatever flies elsewhere stops
    Object.assign(view, { x, y, scale });
    redraw();
  }

  const fit = () => show({ x: (left + right) / 2, y: (bottom + top) / 2, scale: fitScale() });

  function zoom(factor, px = map.clientWidth / 2, py = map.clientHeight / 2) {
    const [x, y] = toMap(px, py);
    view.scale *= factor;
    clampView();
    view.x = x - (px - map.clientWidth / 2) / view.scale;
    view.y = y + (py - map.clientHeight / 2) / view.scale;
    clampView();
    show(view);
  }

  function pan(dx, dy) {
    view.x -= dx / view.scale;
    view.y += dy / view.scale;
    clampView();
    show(view);
  }

  function fly(x, y, scale = Math.max(view.scale, fitScale() * 4)) {
    const from = { ...view }, mine = (flight += 1);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const start = performance.now(), time = calm ? 1 : 350;
    const step = (now) => {
      if (mine !== flight) return;
      const t = Math.min(Math.max((now - start) / time, 0), 1), ease = t * t * (3 - 2 * t);
      view.x = from.x + (x - from.x) * ease;
      view.y = from.y + (y - from.y) * ease;
      view.scale = from.scale * (scale / from.scale) ** ease;
      redraw();
      if (t < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  function flyTo(bounds) {
    const [l, b, r, t] = bounds;
    fly((l + r) / 2, (b + t) / 2, Math.min(scaleOf(bounds) * 0.7, Math.max(fitScale() * 8, view.scale)));
  }

  const touches = new Map();
  let travelled = 0;
  const local = (event) => {
    const box = map.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const span = () => {
    const [[ax, ay], [bx, by]] = [...touches.values()];
    return [Math.hypot(ax - bx, ay - by), (ax + bx) / 2, (ay + by) / 2];
  };

  map.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button, .panel")) return;
    map.setPointerCapture(event.pointerId);
    touches.set(event.pointerId, local(event));
    if (touches.size === 1) travelled = 0;
    map.classList.add("moving");
  });
  map.addEventListener("pointermove", (event) => {
    const now = local(event), before = touches.get(event.pointerId);
    if (!before) return;
    if (touches.size === 1) {
      pan(now[0] - before[0], now[1] - before[1]);
      touches.set(event.pointerId, now);
    } else {
      const [wide, x, y] = span();
      touches.set(event.pointerId, now);
      const [wider, nextX, nextY] = span();
      if (wide > 0) zoom(wider / wide, x, y);
      pan(nextX - x, nextY - y);
    }
    travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    map.addEventListener(name, (event) => {
      if (!touches.delete(event.pointerId)) return;
      map.classList.toggle("moving", touches.size > 0);
      if (name === "pointerup" && travelled < 4) clicks.forEach((told) => told(...toMap(...local(event))));
    });
  }
  map.addEventListener("wheel", (event) => {
    if (event.target.closest(".panel")) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), ...local(event));
  }, { passive: false });
  map.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key] && event.target === map) pan(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") fit();
    else return;
    event.preventDefault();
  });
  $("zoom-in").addEventListener("click", () => zoom(1.6));
  $("zoom-out").addEventListener("click", () => zoom(1 / 1.6));
  $("zoom-fit").addEventListener("click", fit);
  new ResizeObserver(redraw).observe(map);

  // --- paper: everything is shown, in a size that screen and paper have in common ---------
  let kept = null;
  function print(on) {
    if (on === Boolean(kept)) return;
    document.documentElement.classList.toggle("printing", on);
    const before = kept;
    kept = on ? { ...view } : null;
    if (on) fit();
    else show(before);
    draw();
  }
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  matchMedia("print").addEventListener("change", (event) => print(event.matches));

  // --- degrees: unit vectors at knots, between which cubic polynomials run -----------------
  const { knots, vectors } = data.degrees;

  function weights(share) {
    const u = share * (knots - 1), first = Math.min(Math.max(Math.floor(u) - 1, 0), knots - 4), t = u - first;
    return [first, [
      (-(t - 1) * (t - 2) * (t - 3)) / 6, (t * (t - 2) * (t - 3)) / 2,
      (-t * (t - 1) * (t - 3)) / 2, (t * (t - 1) * (t - 2)) / 6,
    ]];
  }

  function vector(x, y) {
    const [col, across] = weights((x - left) / (right - left)), [row, down] = weights((top - y) / (top - bottom));
    return vectors.map((values) => down.reduce((total, wy, j) => total + wy * across.reduce(
      (part, wx, i) => part + wx * values[(row + j) * knots + col + i], 0), 0));
  }

  function toDegrees(x, y) {
    const [a, b, c] = vector(x, y), turn = 180 / Math.PI;
    return { lat: Math.atan2(c, Math.hypot(a, b)) * turn, lon: Math.atan2(b, a) * turn };
  }

  // The place [x, y] of degrees by Gauss and Newton, or null outside of the area.
  function fromDegrees({ lat, lon }) {
    const turn = Math.PI / 180, dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    const aim = [Math.cos(lat * turn) * Math.cos(lon * turn), Math.cos(lat * turn) * Math.sin(lon * turn), Math.sin(lat * turn)];
    const minus = (a, b) => a.map((value, i) => value - b[i]), h = (right - left) / 1e4;
    let x = (left + right) / 2, y = (bottom + top) / 2, rest = aim;
    for (let turns = 0; turns < 20; turns++) {
      const here = vector(x, y), dx = minus(vector(x + h, y), here), dy = minus(vector(x, y + h), here);
      rest = minus(aim, here);
      const [aa, ab, bb, ar, br] = [dot(dx, dx), dot(dx, dy), dot(dy, dy), dot(dx, rest), dot(dy, rest)];
      const det = aa * bb - ab * ab;
      x += ((bb * ar - ab * br) / det) * h;
      y += ((aa * br - ab * ar) / det) * h;
    }
    const inside = x >= left && x <= right && y >= bottom && y <= top;
    return inside && Math.hypot(...rest) < 1e-8 ? [x, y] : null;
  }

  return {
    element: map, view, local, toMap, toScreen, toDegrees, fromDegrees, draw, redraw, fit, fly, flyTo, fitScale,
    addLayer: (element, bounds, width, height) => layers.push({ element, bounds, width, height }),
    addPoint: (point) => { points.push(point); return point; },
    removePoint: (point) => points.splice(points.indexOf(point), 1),
    addPainter: (painter, first = false) => (first ? painters.unshift(painter) : painters.push(painter)),
    onClick: (told) => clicks.push(told),
    inside: (x, y) => x >= left && x <= right && y >= bottom && y <= top,
  };
};
