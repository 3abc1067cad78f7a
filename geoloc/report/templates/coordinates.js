"use strict";
// Degrees, UTM, MGRS and lengths on the WGS84 ellipsoid. Nothing in here knows of the page.
// Transverse Mercator by Krüger's series to the 4th order: below a millimetre in every zone.
const coordinates = (() => {
  const A = 6378137, F = 1 / 298.257223563, B = A * (1 - F), N = F / (2 - F), E = Math.sqrt(F * (2 - F));
  const K0 = 0.9996, RADIUS = (K0 * A * (1 + N ** 2 / 4 + N ** 4 / 64)) / (1 + N);
  const ALPHA = [
    N / 2 - (2 * N ** 2) / 3 + (5 * N ** 3) / 16 + (41 * N ** 4) / 180,
    (13 * N ** 2) / 48 - (3 * N ** 3) / 5 + (557 * N ** 4) / 1440,
    (61 * N ** 3) / 240 - (103 * N ** 4) / 140,
    (49561 * N ** 4) / 161280,
  ];
  const BETA = [
    N / 2 - (2 * N ** 2) / 3 + (37 * N ** 3) / 96 - N ** 4 / 360,
    N ** 2 / 48 + N ** 3 / 15 - (437 * N ** 4) / 1440,
    (17 * N ** 3) / 480 - (37 * N ** 4) / 840,
    (4397 * N ** 4) / 161280,
  ];
  const DELTA = [
    2 * N - (2 * N ** 2) / 3 - 2 * N ** 3 + (116 * N ** 4) / 45,
    (7 * N ** 2) / 3 - (8 * N ** 3) / 5 - (227 * N ** 4) / 45,
    (56 * N ** 3) / 15 - (136 * N ** 4) / 35,
    (4279 * N ** 4) / 630,
  ];
  const BANDS = "CDEFGHJKLMNPQRSTUVWX", ROWS = "ABCDEFGHJKLMNPQRSTUV";
  const COLUMNS = ["STUVWXYZ", "ABCDEFGH", "JKLMNPQR"]; // by the zone's remainder of 3
  const rad = (degrees) => (degrees * Math.PI) / 180, deg = (radians) => (radians * 180) / Math.PI;
  const turn = (lon) => ((((lon + 180) % 360) + 360) % 360) - 180;
  const sum = (terms, f) => terms.reduce((total, value, i) => total + value * f(2 * (i + 1)), 0);
  const meridian = (zone) => 6 * zone - 183;

  function zoneOf(lat, lon) {
    const east = turn(lon), zone = Math.floor((east + 180) / 6) + 1;
    if (lat >= 56 && lat < 64 && east >= 3 && east < 12) return 32; // the west of Norway
    if (lat < 72 || east < 0 || east >= 42) return zone;
    return east < 9 ? 31 : east < 21 ? 33 : east < 33 ? 35 : 37; // Svalbard
  }

  // UTM and MGRS end where the polar grids begin.
  const bandOf = (lat) => (lat < -80 || lat > 84 ? null : BANDS[Math.min(19, Math.floor((lat + 80) / 8))]);

  function project(lat, lon, zone) {
    const phi = rad(lat), lambda = rad(turn(lon - meridian(zone)));
    const t = Math.sinh(Math.atanh(Math.sin(phi)) - E * Math.atanh(E * Math.sin(phi)));
    const xi = Math.atan2(t, Math.cos(lambda));
    const eta = Math.asinh(Math.sin(lambda) / Math.hypot(t, Math.cos(lambda)));
    const x = eta + sum(ALPHA, (k) => Math.cos(k * xi) * Math.sinh(k * eta));
    const y = xi + sum(ALPHA, (k) => Math.sin(k * xi) * Math.cosh(k * eta));
    return [500000 + RADIUS * x, RADIUS * y + (lat < 0 ? 1e7 : 0)];
  }

  function unproject(easting, northing, zone) {
    const y = northing / RADIUS, x = (easting - 500000) / RADIUS;
    const xi = y - sum(BETA, (k) => Math.sin(k * y) * Math.cosh(k * x));
    const eta = x - sum(BETA, (k) => Math.cos(k * y) * Math.sinh(k * x));
    const chi = Math.asin(Math.sin(xi) / Math.cosh(eta));
    const phi = chi + sum(DELTA, (k) => Math.sin(k * chi));
    return { lat: deg(phi), lon: turn(meridian(zone) + deg(Math.atan2(Math.sinh(eta), Math.cos(xi)))) };
  }

  function utm(lat, lon) {
    const band = bandOf(lat), zone = zoneOf(lat, lon);
    if (!band) return null;
    const [easting, northing] = project(lat, lon, zone);
    return { zone, band, easting, northing };
  }

  function utmText(lat, lon) {
    const found = utm(lat, lon);
    return found && `${found.zone}${found.band} ${Math.floor(found.easting)} ${Math.floor(found.northing)}`;
  }

  function mgrs(lat, lon) {
    const found = utm(lat, lon);
    if (!found) return null;
    const { zone, band } = found, east = Math.floor(found.easting), north = Math.floor(found.northing);
    const column = COLUMNS[zone % 3][Math.floor(east / 1e5) - 1];
    const row = ROWS[(Math.floor(north / 1e5) + (zone % 2 ? 0 : 5)) % 20];
    const digits = (value) => String(value % 1e5).padStart(5, "0");
    return `${zone}${band} ${column}${row} ${digits(east)} ${digits(north)}`;
  }

  function fromMgrs(text) {
    const parts = /^(\d{1,2})([C-HJ-NP-X])([A-HJ-NP-Z])([A-HJ-NP-V])(\d*)$/.exec(text.replace(/\s/g, "").toUpperCase());
    if (!parts) return null;
    const zone = +parts[1], band = BANDS.indexOf(parts[2]), digits = parts[5], half = digits.length / 2;
    const column = zone >= 1 && zone <= 60 ? COLUMNS[zone % 3].indexOf(parts[3]) : -1;
    if (column < 0 || digits.length % 2 || half > 5) throw new Error(`${text}: there is no such MGRS square`);
    const size = 10 ** (5 - half), value = (part) => (+part || 0) * size + size / 2; // its centre
    const row = (ROWS.indexOf(parts[4]) + (zone % 2 ? 0 : 15)) % 20;
    const south = 8 * band - 80, lowest = project(south, meridian(zone), zone)[1] - (south < 0 ? 1e7 : 0) - 2e5;
    let north = row * 1e5 + value(digits.slice(half)) - 1e7;
    while (north < lowest) north += 2e6; // letters of rows come again every 2,000 km
    const place = unproject((column + 1) * 1e5 + value(digits.slice(0, half)), north, zone);
    const over = Math.max(south - place.lat, place.lat - (band === 19 ? 84 : south + 8));
    if (over > 1 || Math.abs(zoneOf(place.lat, place.lon) - zone) % 58 > 1) {
      throw new Error(`${text}: there is no such MGRS square`);
    }
    return { ...place, within: size / 2 };
  }

  function fromUtm(text) {
    const parts = /^(\d{1,2})\s*([C-HJ-NP-X])[\s,]+(\d{6}(?:\.\d+)?)\s*(?:m?E)?[\s,]+(\d{1,8}(?:\.\d+)?)\s*(?:m?N)?$/i.exec(text);
    if (!parts) return null;
    const [zone, letter, east, north] = [+parts[1], parts[2].toUpperCase(), +parts[3], +parts[4]];
    // N and S may be bands or halves of the globe: taken where only one of both makes sense
    const places = [north, north - 1e7].map((n) => unproject(east, n, zone)).filter(({ lat }, i) =>
      bandOf(lat) && (bandOf(lat) === letter || (letter === "N" && !i) || (letter === "S" && i && lat < 0)) && (i ? lat < 0 : lat >= 0));
    if (zone < 1 || zone > 60 || !places.length) throw new Error(`${text}: there is no such UTM place`);
    if (places.length > 1) throw new Error(`${text}: S may be the band or the south: write lat, lon or MGRS`);
    return places[0];
  }

  const NUMBER = String.raw`\d+(?:\.\d+)?`, BREAK = String.raw`\s*[,;]?\s*`;
  const ANGLE = String.raw`([+-]?${NUMBER})\s*(?:[°\s]\s*(?:(${NUMBER})\s*(?:['\s]\s*(?:(${NUMBER})\s*"?)?)?)?)?`;
  const AFTER = new RegExp(`^${ANGLE}\\s*([NSEW])${BREAK}${ANGLE}\\s*([NSEW])$`);
  const BEFORE = new RegExp(`^([NSEW])\\s*${ANGLE}${BREAK}([NSEW])\\s*${ANGLE}$`);
  const PLAIN = new RegExp(`^([+-]?${NUMBER})\\s*°?(?:\\s*[,;]\\s*|\\s+)([+-]?${NUMBER})\\s*°?$`);
  const COMMAS = /^([+-]?\d+),(\d+)(?:\s*;\s*|,?\s+)([+-]?\d+),(\d+)$/;

  function tidy(text) {
    const signs = text.trim().replace(/[−–]/g, "-").replace(/[º˚]/g, "°").replace(/[′’‘`]/g, "'").replace(/[″”“]|''/g, '"');
    return signs.replace(COMMAS, "$1.$2, $3.$4");
  }

  function angle(sign, minutes = 0, seconds = 0, letter = "") {
    const value = Math.abs(+sign) + minutes / 60 + seconds / 3600, minus = sign.startsWith("-");
    if (minutes >= 60 || seconds >= 60 || (minus && letter)) throw new Error("minutes and seconds stay below 60, and a letter takes no sign");
    return minus || letter === "S" || letter === "W" ? -value : value;
  }

  function fromDegrees(text) {
    const words = tidy(text).toUpperCase(), plain = PLAIN.exec(words);
    const labelled = words.replace(/\b(?:LATITUDE|LAT)\b[\s:=]*/, "~").match(/^~([^~]*?)[\s,;]*\b(?:LONGITUDE|LONG|LON|LNG)\b[\s:=]*(.*)$/);
    if (labelled) return fromDegrees(`${labelled[1]}, ${labelled[2]}`);
    if (plain) return { lat: angle(plain[1]), lon: angle(plain[2]) };
    const a = AFTER.exec(words), b = BEFORE.exec(words);
    if (!a && !b) return null;
    const read = a ? [[a[4], a.slice(1, 4)], [a[8], a.slice(5, 8)]] : [[b[1], b.slice(2, 5)], [b[5], b.slice(6, 9)]];
    const found = {};
    for (const [letter, parts] of read) found["NS".includes(letter) ? "lat" : "lon"] = angle(...parts, letter);
    if (Object.keys(found).length < 2) throw new Error("one number is north or south, the other east or west");
    return found;
  }

  // What somebody typed: {lat, lon}, of a square also {within} in metres. Throws what is wrong.
  function parse(text) {
    const place = fromMgrs(text) ?? fromUtm(text.trim()) ?? fromDegrees(text);
    if (!place) throw new Error("write lat, lon such as 50.4501, 30.5234, or MGRS such as 36U UB 24155 91234");
    if (Math.abs(place.lat) > 90) throw new Error(`latitude ${place.lat}: it lies between -90 and 90, and stands first`);
    if (Math.abs(place.lon) > 180) throw new Error(`longitude ${place.lon}: it lies between -180 and 180`);
    return place;
  }

  // Length (m) and first bearing (degrees from north) of the geodesic; null for near antipodes.
  // T. Vincenty, Survey Review 23 (1975), below a millimetre.
  function geodesic(from, to) {
    const L = rad(turn(to.lon - from.lon)), u = Math.atan((1 - F) * Math.tan(rad(from.lat))), v = Math.atan((1 - F) * Math.tan(rad(to.lat)));
    const [su, cu, sv, cv] = [Math.sin(u), Math.cos(u), Math.sin(v), Math.cos(v)];
    for (let lambda = L, turns = 0; turns < 100; turns++) {
      const p = cv * Math.sin(lambda), q = cu * sv - su * cv * Math.cos(lambda), sine = Math.hypot(p, q);
      if (sine === 0) return { metres: 0, bearing: 0 };
      const cosine = su * sv + cu * cv * Math.cos(lambda), sigma = Math.atan2(sine, cosine);
      const sa = (cu * cv * Math.sin(lambda)) / sine, ca = 1 - sa * sa, c2 = ca ? cosine - (2 * su * sv) / ca : 0;
      const C = (F / 16) * ca * (4 + F * (4 - 3 * ca)), before = lambda;
      lambda = L + (1 - C) * F * sa * (sigma + C * sine * (c2 + C * cosine * (2 * c2 * c2 - 1)));
      if (Math.abs(lambda - before) > 1e-12) continue;
      const k = (ca * (A * A - B * B)) / (B * B), a = 1 + (k / 16384) * (4096 + k * (-768 + k * (320 - 175 * k)));
      const b = (k / 1024) * (256 + k * (-128 + k * (74 - 47 * k)));
      const last = (b / 6) * c2 * (4 * sine * sine - 3) * (4 * c2 * c2 - 3);
      const delta = b * sine * (c2 + (b / 4) * (cosine * (2 * c2 * c2 - 1) - last));
      return { metres: B * a * (sigma - delta), bearing: (deg(Math.atan2(p, q)) + 360) % 360 };
    }
    return null;
  }

  return { zoneOf, bandOf, project, unproject, utm, utmText, mgrs, parse, geodesic };
})();
