// One source: its picture or its lines, the answer, and how old it is.
class Source {
  constructor(index, name) {
    this.index = index;
    this.serial = "";
    this.ended = false;
    this.box = el("section", "source");
    this.heading = el("h2", "", name || "source");
    this.view = el("div");
    this.about = el("p", "about", "no frame yet");
    this.answer = el("ul", "answer");
    this.canvas = el("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "the last frame of " + (name || "the source"));
    this.over = el("div", "over");
    this.sheet = el("div", "sheet", this.canvas, this.over);
    this.box.append(this.heading, this.view, this.about, this.answer);
    this.run();
  }

  async run() {
    while (!this.ended) {
      await shown();
      let wait = STATE_MS;
      try {
        if (connected && await this.look()) wait = FRAME_MS;
      } catch (error) {
        if (!(error instanceof NoAnswer)) console.error(error);
        wait = AGAIN_MS;
      }
      await sleep(wait);
    }
  }

  // Whether there was another frame.
  async look() {
    const found = await ask("frame/" + this.index + (this.serial === "" ? "" : "?after=" + this.serial), reply => reply.formData());
    if (!found || this.ended) return false;
    const about = JSON.parse(found.get("about")), picture = found.get("picture");
    // Decoded before anything is drawn: the picture and what lies on it change at once.
    const bitmap = picture ? await createImageBitmap(picture) : null;
    if (this.ended) return false;
    this.serial = about.serial;
    this.last = about;
    if (bitmap) this.picture(about, bitmap);
    else if (about.wave) this.wave(about);
    else put(this.view, el("p", "quiet", "no picture of " + about.what));
    this.box.classList.toggle("held", about.held);
    put(this.answer, ...answers(about.answer));
    return true;
  }

  picture(about, bitmap) {
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height || !this.canvas.isConnected) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
      this.sheet.style.width = "min(100%, 80vh * " + bitmap.width / bitmap.height + ")";
      this.view.className = "picture";
      this.view.replaceChildren(this.sheet);
    }
    this.canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    const frame = svg("svg", "", {viewBox: "0 0 " + about.width + " " + about.height, preserveAspectRatio: "none"});
    const tags = [];
    if (about.crop) frame.append(rectangle(about.crop, "crop"));
    for (const box of about.answer.boxes || []) {
      const [left, top, right] = box.corners, tag = el("span", "tag", box.name + " " + box.score);
      const number = colour(box.name);
      frame.append(rectangle(box.corners, "k" + number));
      tag.style.borderColor = "var(--s" + number + ")";
      const percent = (value, whole) => Math.min(100, Math.max(0, 100 * value / whole));
      if (percent(left, about.width) < 55) tag.style.left = percent(left, about.width) + "%";
      else tag.style.right = 100 - percent(right, about.width) + "%";
      if (percent(top, about.height) > 9) tag.style.bottom = 100 - percent(top, about.height) + "%";
      else tag.style.top = percent(top, about.height) + "%";
      tags.push(tag);
    }
    this.over.replaceChildren(frame, ...tags);
  }

  wave(about) {
    const wave = about.wave, height = 130;
    const frame = drawing(height, about.kind + " of the last moments");
    wave.lines.forEach((line, index) => frame.append(...polylines(line, wave.low, wave.high, height, "k" + index % 8)));
    const value = number => Number(number.toPrecision(4)).toString();
    const said = about.kind === "sound"
      ? ["level " + (wave.level_db === null ? "none" : wave.level_db.toFixed(1) + " dBFS"), "full height " + value(wave.high)]
      : ["from " + value(wave.low), "to " + value(wave.high)];
    this.view.className = "wave";
    put(this.view, frame, el("p", "ends", ...said.map(text => el("span", "", text))));
  }

  // From the state, so that it goes on where no frame comes.
  numbers(state) {
    const about = this.last;
    if (!about) return;
    const parts = [el("span", "", "frame " + many(about.number)), el("span", "", about.age_ms.toFixed(1) + " ms old when answered"),
      el("span", "", about.kind === "picture" ? about.width + " × " + about.height : about.what)];
    if (about.held) parts.push(badge("held: the last good answer", "warn"));
    if (state.since_ms > OLD_MS) parts.push(badge("given " + ago(state.since_ms) + " ago", "warn"));
    put(this.about, ...parts);
  }
}

function rectangle([left, top, right, bottom], cls) {
  return svg("rect", cls, {x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top)});
}

function answers(answer) {
  const rows = [];
  const row = (name, share, fill) => {
    const bar = el("i"), line = el("li", "", el("b", "", name), el("span", "bar", bar), el("span", "n", share.toFixed(2)));
    if (fill) bar.style.background = fill;
    bar.style.width = Math.min(100, Math.max(0, 100 * share)) + "%";
    return line;
  };
  for (const [name, share] of answer.labels || []) rows.push(row(name, share));
  for (const box of answer.boxes || []) rows.push(row(box.name, Number(box.score) || 0, "var(--s" + colour(box.name) + ")"));
  if (answer.more) rows.push(el("li", "text quiet", "and " + many(answer.more) + " more"));
  for (const line of answer.lines || []) rows.push(el("li", "text", line));
  return rows;
}
