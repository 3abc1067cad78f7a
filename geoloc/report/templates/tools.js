"use strict";
// What is at a place: the read-out under the pointer, a pin, going to a coordinate, measuring.
const createTools = (data, map, heat) => {
  const $ = (id) => document.getElementById(id);
  const readout = $("readout"), pin = map.addPoint({ element: $("pin"), x: 0, y: 0 });
  let measuring = false, path = [];

  const element = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const degrees = ({ lat, lon }, digits) => `${lat.toFixed(digits)}, ${lon.toFixed(digits)}`;
  const length = (metres) => (metres < 1000 ? `${metres.toFixed(1)} m` : `${(metres / 1000).toFixed(3)} km`);

  // Names and values of a place, in the order in which map services take them.
  const names = ({ lat, lon }, digits) => [
    ["lat, lon", degrees({ lat, lon }, digits)],
    ["UTM", coordinates.utmText(lat, lon) ?? "none so near a pole"],
    ["MGRS", coordinates.mgrs(lat, lon) ?? "none so near a pole"],
  ];

  // --- under the pointer -----------------------------------------------------------------
  function read(x, y) {
    if (!map.inside(x, y)) { readout.replaceChildren(); return; }
    const lines = names(map.toDegrees(x, y), 5).map(([name, text]) => `${name} ${text}`);
    readout.replaceChildren(...[...lines, heat.describe(x, y)].map((text) => element("div", { textContent: text })));
  }
  map.element.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "touch") read(...map.toMap(...map.local(event)));
  });
  map.element.addEventListener("pointerleave", () => readout.replaceChildren());
  map.element.addEventListener("keydown", (event) => {
    if (event.target !== map.element) return;
    if (event.key === "Enter") click(map.view.x, map.view.y);
    read(map.view.x, map.view.y);
  });
  map.element.addEventListener("blur", () => readout.replaceChildren());

  // --- a pin -----------------------------------------------------------------------------
  async function copy(button, text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);
      document.execCommand("copy");
    }
    button.textContent = "copied";
  }

  function links({ lat, lon }) {
    return Object.entries(data.links).map(([name, template]) => element("a", {
      textContent: name,
      href: template.replaceAll("{lat}", lat.toFixed(6)).replaceAll("{lon}", lon.toFixed(6)),
      target: "_blank",
      rel: "noreferrer noopener",
    }));
  }

  function drop(x, y, place = map.toDegrees(x, y)) {
    Object.assign(pin, { x, y });
    pin.element.hidden = $("place").hidden = false;
    $("place-list").replaceChildren(...names(place, 6).map(([name, text]) => {
      const button = element("button", { type: "button", className: "copy", textContent: "copy", ariaLabel: `Copy ${name}` });
      button.addEventListener("click", () => copy(button, text));
      return element("tr", {}, element("th", { textContent: name, scope: "row" }), element("td", {}, element("b", { textContent: text }), button));
    }));
    $("place-heat").textContent = heat.describe(x, y);
    $("place-links").replaceChildren(...links(place));
    map.redraw();
  }

  function removePin() {
    pin.element.hidden = $("place").hidden = true;
  }
  $("place-close").addEventListener("click", removePin);

  // --- a coordinate that somebody has ----------------------------------------------------
  function outside(place) {
    const [l, b, r, t] = data.bounds, away = coordinates.geodesic(map.toDegrees((l + r) / 2, (b + t) / 2), place);
    const swapped = { lat: place.lon, lon: place.lat };
    const other = Math.abs(swapped.lat) <= 90 && map.fromDegrees(swapped);
    const hint = other ? `; did you mean ${degrees(swapped, 5)}? Latitude stands first` : "";
    return `${degrees(place, 5)} lies outside this area${away ? `, ${length(away.metres)} from its middle` : ""}${hint}.`;
  }

  $("goto").addEventListener("submit", (event) => {
    event.preventDefault();
    const told = $("goto-told");
    try {
      const place = coordinates.parse($("goto-text").value), at = map.fromDegrees(place);
      told.textContent = at ? (place.within > 1 ? `the middle of a square of ${length(2 * place.within)}` : "") : outside(place);
      $("goto-text").setAttribute("aria-invalid", String(!at));
      if (!at) return;
      drop(...at, place);
      map.fly(...at);
    } catch (error) {
      told.textContent = error.message;
      $("goto-text").setAttribute("aria-invalid", "true");
    }
  });

  // --- measuring -------------------------------------------------------------------------
  function tellLength() {
    const legs = path.slice(1).map((to, i) => coordinates.geodesic(map.toDegrees(...path[i]), map.toDegrees(...to)));
    const total = legs.reduce((sum, leg) => sum + leg.metres, 0), last = legs.at(-1);
    const blur = Math.SQRT2 / map.view.scale; // of both ends, a pixel of the screen each
    const words = last
      ? `${length(total)} ± ${length(blur)}${legs.length > 1 ? ` in ${legs.length} legs, the last ${length(last.metres)}` : ""}, bearing ${last.bearing.toFixed(1)}°`
      : "click two or more places; Esc ends";
    $("measured").textContent = words;
  }

  function measure(on) {
    measuring = on;
    path = [];
    $("measure").setAttribute("aria-pressed", String(on));
    $("measured").hidden = !on;
    map.element.classList.toggle("measuring", on);
    tellLength();
    map.redraw();
  }

  map.addPainter((context, toScreen) => {
    if (!path.length) return;
    const ends = path.map((end) => toScreen(...end));
    context.beginPath();
    ends.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    for (const [x, y] of ends) {
      context.moveTo(x + 4, y);
      context.arc(x, y, 4, 0, 2 * Math.PI);
    }
    for (const [strokeStyle, lineWidth] of [["#000", 5], ["#ffe600", 2.5]]) {
      Object.assign(context, { strokeStyle, lineWidth, lineJoin: "round" });
      context.stroke();
    }
  });

  function click(x, y) {
    if (!measuring) { drop(x, y); return; }
    path.push([x, y]);
    tellLength();
    map.redraw();
  }

  $("measure").addEventListener("click", () => measure(!measuring));
  map.onClick(click);
  return { measuring: () => measuring, measure, removePin };
};
