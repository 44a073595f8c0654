(() => {
  "use strict";
  const $ = (id) => document.getElementById("explorer-" + id);
  const root = document.getElementById("explorer");
  const data = $("index");
  if (!root || !data) return;

  const index = JSON.parse(data.textContent);
  const [WIDTH, HEIGHT] = data.dataset.size.split(" ").map(Number);
  const SVG = "http://www.w3.org/2000/svg";
  const METHODS = index.methods.map((method) => method.name);
  // Seventeen colours of each palette, evenly spaced; viridis, cividis and magma are CC0.
  const PALETTES = {
    viridis: "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725",
    cividis: "00224e002e6a1a386f32436d434e6c535a6d61656f6f70737d7c788c88789b9476aba072bcae6ccdbb63dec958f0d846fee838",
    magma: "0000040a08221d114736106b51127c6a1c818326819c2e7fb73779d0416fe75263f56b5cfc8961fea772fec488fde2a3fcfdbf",
    grey: "000000101010202020303030404040505050606060707070808080909090a0a0a0b0b0b0c0c0c0d0d0d0e0e0e0f0f0f0ffffff",
  };
  const DEFAULTS = { image: "", methods: index.shown, palette: "viridis", model: "walled", wall: "hatched", sort: "", class: "" };
  const state = { ...DEFAULTS };
  let order = [];
  // Without the wall there are maps and figures of their own, and nothing is dead.
  const unmasked = () => state.model === "unmasked";
  const figures = (entry) => (unmasked() ? entry.unmasked : entry);
  const zone = () => (unmasked() && state.wall === "hatched" ? "outlined" : state.wall);

  const make = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };

  // Photographs and maps, a part at a time, unpacked when they are first looked at.
  const parts = new Map();
  const part = (number) => {
    if (!parts.has(number)) {
      parts.set(number, index.served
        ? fetch("/parts/" + number + ".json").then((answer) => {
            if (!answer.ok) throw new Error(answer.status);
            return answer.json();
          })
        : Promise.resolve().then(() => JSON.parse($("part-" + number).textContent)));
      if (parts.size > 12) parts.delete(parts.keys().next().value);
    }
    return parts.get(number);
  };
  const pictures = (place) =>
    part(Math.floor(place / index.part)).then((found) => found[place % index.part]);
  const photo = (found) => "data:image/jpeg;base64," + found.photo;

  const colours = (name) => {
    const table = new Uint8Array(256 * 3);
    const anchor = (number, channel) =>
      parseInt(PALETTES[name].slice(6 * number + 2 * channel, 6 * number + 2 * channel + 2), 16);
    for (let level = 0; level < 256; level++) {
      const where = (level / 255) * 16, below = Math.min(Math.floor(where), 15);
      for (let channel = 0; channel < 3; channel++) {
        const low = anchor(below, channel), high = anchor(below + 1, channel);
        table[3 * level + channel] = Math.round(low + (high - low) * (where - below));
      }
    }
    return table;
  };

  // Bilinear with half-pixel centres, as the audit's own, then stretched to the full range.
  const upsampled = ([height, width, text]) => {
    const cells = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const along = (pixels, count) => Array.from({ length: pixels }, (_, pixel) => {
      const where = Math.min(Math.max(((pixel + 0.5) * count) / pixels - 0.5, 0), count - 1);
      const low = Math.floor(where);
      return [low, Math.min(low + 1, count - 1), where - low];
    });
    const rows = along(HEIGHT, height), columns = along(WIDTH, width);
    const found = new Float32Array(WIDTH * HEIGHT);
    let low = Infinity, high = -Infinity, pixel = 0;
    for (const [up, down, v] of rows) {
      for (const [left, right, h] of columns) {
        const above = cells[up * width + left] * (1 - h) + cells[up * width + right] * h;
        const below = cells[down * width + left] * (1 - h) + cells[down * width + right] * h;
        const value = above * (1 - v) + below * v;
        found[pixel++] = value;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    return found.map((value) => (high > low ? (value - low) / (high - low) : 0.5));
  };

  const painted = (canvas, shares, table) => {
    const context = canvas.getContext("2d");
    const picture = context.createImageData(canvas.width, canvas.height);
    shares.forEach((share, pixel) => {
      const level = Math.round(255 * share);
      picture.data.set(table.subarray(3 * level, 3 * level + 3), 4 * pixel);
      picture.data[4 * pixel + 3] = level; // opacity follows intensity
    });
    context.putImageData(picture, 0, 0);
  };

  const walled = () => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 " + WIDTH + " " + HEIGHT);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS(SVG, "use");
    use.setAttribute("href", "#explorer-wall");
    svg.append(use);
    return svg;
  };

  const view = (name, figure, kind, ...layers) =>
    make("figure", {},
      make("div", { className: "stack" }, ...layers),
      make("figcaption", {},
        make("span", { className: "method" }, make("bdi", { textContent: name })),
        make("span", { className: kind, textContent: figure })));

  const chosen = (found, number) => {
    const twin = found.unmasked?.[number] ?? null;
    return unmasked() && twin !== "same" ? twin : found.maps[number];
  };

  const mapView = (entry, found, number, table) => {
    const method = index.methods[number], own = figures(entry);
    const mu = own.mu[number], reason = own.reasons[number];
    const kind = mu === null ? "none" : unmasked() || method.control ? "" : mu > 0 ? "lit" : "zero";
    const figure = mu === null ? "no figure" : (unmasked() ? "unmasked μ " : "μ ") + own.text[number];
    const base = make("img", { src: photo(found), alt: "" });
    const map = chosen(found, number);
    if (map === null || reason) {
      const why = make("p", { className: "absent" },
        make("bdi", { textContent: reason || "The map is zero or was not kept." }));
      return view(method.title, figure, kind, why);
    }
    const canvas = make("canvas", { width: WIDTH, height: HEIGHT });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", method.title + " on " + entry.title + (unmasked() ? " without the wall: " : ": ") + figure);
    painted(canvas, upsampled(map), table);
    return view(method.title, figure, kind, base, canvas, walled());
  };

  const place = () => Math.max(order.findIndex((at) => index.images[at].id === state.image), 0);

  // Keeps a slow answer from replacing a later one.
  let asked = 0;
  const show = async () => {
    const number = ++asked;
    const empty = order.length === 0;
    const position = place();
    if (empty) return;
    const entry = index.images[order[position]];
    state.image = entry.id;
    $("image").replaceChildren(make("bdi", { textContent: entry.title }));
    $("caption").textContent =
      [entry.caption, entry.target && "explained class: " + entry.target].filter(Boolean).join("; ");
    const where = position + 1 + " of " + order.length;
    $("place").textContent = where;
    $("previous").disabled = position === 0;
    $("next").disabled = position === order.length - 1;
    marked(position);
    let found;
    try {
      found = await pictures(order[position]);
    } catch {
      if (number === asked) $("status").textContent = "The image could not be loaded.";
      return;
    }
    if (number !== asked) return;
    const table = colours(state.palette);
    const own = make("img", { src: photo(found), alt: "Photograph: " + entry.title });
    const shown = METHODS.map((name, at) => (state.methods.includes(name) ? at : -1));
    $("views").replaceChildren(
      view("Photograph", "", "", own, walled()),
      ...shown.filter((at) => at >= 0).map((at) => mapView(entry, found, at, table)));
    const said = shown.filter((at) => at >= 0).map((at) =>
      index.methods[at].title + " " + (figures(entry).text[at] || "no figure"));
    const model = unmasked() ? "Without the wall the model sees all of the image: "
      : index.unmasked ? "With the wall: " : "";
    $("status").textContent = "Image " + where + ": " + entry.title + ". " + model + said.join(", ") + ".";
  };

  // The list of thumbnails: one stop for the Tab key, pictures only where they are looked at.
  const watcher = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      pictures(Number(target.dataset.at)).then((found) => { target.src = photo(found); }, () => {});
    }
  }, { rootMargin: "200px" });

  const listed = () => {
    watcher.disconnect();
    $("thumbs").replaceChildren(...order.map((at, position) => {
      const image = make("img", { alt: "", decoding: "async", width: 64, height: 64 });
      image.dataset.at = at;
      watcher.observe(image);
      const button = make("button", { type: "button", tabIndex: -1 }, image);
      button.setAttribute("aria-label", position + 1 + ": " + index.images[at].title);
      button.addEventListener("click", () => go(position));
      return make("li", {}, button);
    }));
  };

  const marked = (position) => {
    const strip = $("thumbs");
    const before = strip.querySelector("[aria-current]");
    const focused = before !== null && before === document.activeElement;
    before?.removeAttribute("aria-current");
    before?.setAttribute("tabindex", "-1");
    const button = strip.children[position].firstElementChild;
    button.setAttribute("aria-current", "true");
    button.tabIndex = 0;
    if (focused) button.focus({ preventScroll: true });
    strip.scrollLeft = button.offsetLeft - strip.offsetLeft - strip.clientWidth / 2;
  };

  const highest = (entry) => Math.max(-1, ...METHODS.map((name, at) =>
    (state.sort === "worst" ? state.methods.includes(name) : state.sort === name)
      ? entry.mu[at] ?? -1 : -1));

  const arranged = () => {
    order = index.images.map((_, at) => at)
      .filter((at) => !state.class || index.images[at].target === state.class);
    if (state.sort) {
      const keys = index.images.map(highest);
      order.sort((a, b) => keys[b] - keys[a]);
    }
    listed();
  };

  // The address holds what differs from the first view.
  const written = () => {
    const found = new URLSearchParams({ image: state.image });
    for (const key of ["palette", "model", "wall", "sort", "class"]) {
      if (state[key] !== DEFAULTS[key]) found.set(key, state[key]);
    }
    if (state.methods.join() !== DEFAULTS.methods.join()) {
      found.set("methods", state.methods.map(encodeURIComponent).join());
    }
    history.replaceState(null, "", "#" + found);
  };

  const read = () => {
    const found = new URLSearchParams(location.hash.slice(1));
    if (!found.has("image")) return false;
    const known = (key, values) =>
      values.includes(found.get(key)) ? found.get(key) : DEFAULTS[key];
    state.image = found.get("image");
    state.palette = known("palette", Object.keys(PALETTES));
    state.model = known("model", index.unmasked ? ["walled", "unmasked"] : ["walled"]);
    state.wall = known("wall", ["hatched", "outlined", "off"]);
    state.sort = known("sort", ["", "worst", ...METHODS]);
    state.class = known("class", index.images.map((entry) => entry.target));
    const named = (found.get("methods") ?? "").split(",").map((text) => {
      try { return decodeURIComponent(text); } catch { return ""; }
    }).filter((name) => METHODS.includes(name));
    state.methods = named.length ? named : DEFAULTS.methods;
    return true;
  };

  const controls = () => {
    $("class").value = state.class;
    $("sort").value = state.sort;
    $("palette").value = state.palette;
    if ($("model")) {
      $("model").value = state.model;
      $("model-note").hidden = !unmasked();
    }
    if ($("wall-mode")) {
      $("wall-mode").querySelector("[value=hatched]").disabled = unmasked();
      $("wall-mode").value = zone();
    }
    root.dataset.wall = zone();
    for (const box of $("methods").querySelectorAll("input")) {
      box.checked = state.methods.includes(box.value);
    }
    $("chosen").textContent = index.methods
      .filter((method) => state.methods.includes(method.name))
      .map((method) => method.title).join(", ") || "none";
    painted($("scale"), Float32Array.from({ length: 64 }, (_, at) => at / 63), colours(state.palette));
  };

  const go = (position) => {
    const bounded = Math.min(Math.max(position, 0), order.length - 1);
    state.image = index.images[order[bounded]].id;
    show();
    written();
  };

  const changed = (rearranged) => {
    controls();
    if (rearranged) arranged();
    show();
    written();
  };

  for (const name of [...new Set(index.images.map((entry) => entry.target))].sort()) {
    if (name) $("class").append(make("option", { value: name, textContent: name }));
  }
  for (const method of index.methods) {
    $("sort").append(make("option", { value: method.name, textContent: "highest μ of " + method.title + " first" }));
    const box = make("input", { type: "checkbox", value: method.name });
    box.addEventListener("change", () => {
      state.methods = METHODS.filter((name) =>
        name === method.name ? box.checked : state.methods.includes(name));
      changed(state.sort === "worst");
    });
    $("methods").append(make("label", {}, box, make("bdi", { textContent: method.title })));
  }
  for (const [id, key] of [["class", "class"], ["sort", "sort"], ["palette", "palette"], ["model", "model"], ["wall-mode", "wall"]]) {
    $(id)?.addEventListener("change", (event) => {
      state[key] = event.target.value;
      if (key === "class" || key === "sort") state.image = ""; // the first of the new order
      changed(key === "class" || key === "sort");
    });
  }
  $("opacity").addEventListener("input", (event) => {
    root.style.setProperty("--explorer-opacity", String(event.target.value / 100));
    $("opacity-value").textContent = event.target.value + " %";
  });
  $("previous").addEventListener("click", () => go(place() - 1));
  $("next").addEventListener("click", () => go(place() + 1));
  root.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.target.closest("select, input[type=range]")) return;
    const steps = { ArrowLeft: place() - 1, ArrowRight: place() + 1, Home: 0, End: order.length - 1,
      PageUp: place() - 10, PageDown: place() + 10 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    go(steps[event.key]);
  });
  window.addEventListener("hashchange", () => {
    if (!read()) return;
    controls();
    arranged();
    show();
  });

  root.style.setProperty("--explorer-ratio", WIDTH + " / " + HEIGHT);
  const linked = read();
  controls();
  arranged();
  show();
  if (location.hash !== "#gallery") {
    for (const folded of document.querySelectorAll("details.folded")) folded.open = false;
  }
  if (linked) root.scrollIntoView();
})();
