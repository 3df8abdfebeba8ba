// The numbers of one loop, its events, and those of the device.

function tile(name, value, unit, tone) {
  return el("div", tone ? "t-" + tone : "", el("dt", "", name), el("dd", "", value, el("small", "", unit ? " " + unit : "")));
}

function ages(loop) {
  const known = loop.ages.filter(age => age !== null), limit = loop.deadline_ms, height = 90;
  const high = 1.12 * Math.max(...known, limit || 0, 0.1);
  const worst = known.length ? "the oldest of the last minute " + ms(Math.max(...known)) + " ms" : "no answer in the last minute";
  const frame = drawing(height, "Age of the answers: " + worst);
  frame.append(svg("line", "base", {x1: 0, x2: 1000, y1: height, y2: height}));
  if (limit) {
    const y = height * (1 - limit / high);
    frame.append(svg("line", "limit", {x1: 0, x2: 1000, y1: y, y2: y}));
  }
  frame.append(...polylines(loop.ages, 0, high, height, "k0"));
  const legend = el("p", "ends", el("span", "", worst));
  if (limit) legend.append(el("span", "k-limit", "- - deadline " + ms(limit) + " ms"));
  return el("figure", "ages", el("figcaption", "", "Age of the oldest answer, each half second"), legend, frame,
    el("p", "ends", el("span", "", "a minute ago"), el("span", "", "now")));
}

const pair = (name, ...values) => [el("dt", "", name), el("dd", "", ...values)];
const at = seconds => seconds < 60 ? seconds.toFixed(1) + " s"
  : Math.floor(seconds / 60) + ":" + String(Math.floor(seconds % 60)).padStart(2, "0") + " min";

// "bad" where most of the last answers were late, "warn" where more than one in a hundred was, else "".
function lateness(loop) {
  const limit = loop.deadline_ms, ages = loop.age_ms;
  return !limit || !ages.n ? "" : ages.p50 > limit ? "bad" : ages.p99 > limit ? "warn" : "";
}

function tiles(loop) {
  const of = (count, whole) => whole ? (100 * count / whole).toFixed(count && count < whole / 100 ? 1 : 0) + " %" : "";
  const late = lateness(loop), when = age => age > loop.deadline_ms ? late : "";
  const made = [tile("answers/s", loop.rate.toFixed(1), ""), tile("age, p50", ms(loop.age_ms.p50), "ms", when(loop.age_ms.p50)),
    tile("age, p99", ms(loop.age_ms.p99), "ms", when(loop.age_ms.p99)), tile("age, largest", ms(loop.age_ms.max), "ms"),
    tile("dropped", many(loop.dropped), of(loop.dropped, loop.captured))];
  if (loop.deadline_ms) made.push(
    tile("late answers", many(loop.deadline_misses), of(loop.deadline_misses, loop.processed), late));
  return el("dl", "tiles", ...made);
}

function details(loop) {
  const compute = loop.compute_ms;
  const rows = pair("frames", many(loop.captured) + " captured, " + many(loop.processed) + " answered, " + many(loop.dropped) + " dropped");
  rows.push(...pair("compute", "p50 " + ms(compute.p50) + ", p99 " + ms(compute.p99) + ", largest " + ms(compute.max) + " ms"));
  rows.push(...pair("runs for", ago(1000 * loop.seconds)));
  const odd = {held: "held answers", bad: "bad answers", left_out: "turns without a frame", resets: "states begun anew", sink_errors: "errors of sinks"};
  for (const name in odd) if (loop[name]) rows.push(...pair(odd[name], many(loop[name])));
  for (const name in loop.who) rows.push(...pair(name, loop.who[name]));
  for (const text of loop.trouble) rows.push(...pair("trouble", badge(text, "bad")));
  return el("dl", "", ...rows);
}

function events(loop) {
  const rows = loop.events.map(event => el("tr", "", el("td", "", at(event.at_s)),
    el("td", "", el("b", "", event.kind), event.source ? " " + event.source : "", event.message ? ": " + event.message : "")));
  return [el("h3", "", "Events" + (loop.event_count ? ", " + many(loop.event_count) : "")),
    rows.length ? el("table", "", el("tbody", "", ...rows)) : el("p", "quiet", "none")];
}

class Loop {
  constructor() {
    this.heading = el("h2");
    this.top = el("div");
    this.title = el("div");
    this.events = el("div", "events");
    this.events.tabIndex = 0;  // it scrolls, also by the keyboard
    this.box = el("section", "", this.heading, this.top, this.title, this.events);
  }

  show(loop) {
    const late = loop.state === "running" ? lateness(loop) : "";
    this.name = loop.name || "loop";
    this.state = loop.state === "ended" && loop.ended ? "ended: " + loop.ended : loop.state === "new" ? "not started"
      : loop.state + (late === "bad" ? ", most answers late" : late ? ", some answers late" : "");
    put(this.heading, this.name, badge(this.state, late || TONES[loop.state] || "unknown"));
    put(this.top, tiles(loop), ages(loop), details(loop));
    const [title, list] = events(loop);
    put(this.title, title);
    put(this.events, list);
    this.events.classList.toggle("events", loop.events.length > 0);
  }

  // Nobody knows how it is now.
  lost() {
    put(this.heading, this.name, badge("was " + this.state, "unknown"));
  }
}

function machine(found) {
  if (!found) return put($("machine"));
  const rows = [...found.temperatures, ...found.clocks, ...found.facts].flatMap(
    ([name, text, tone]) => pair(name, tone ? badge(text, tone) : text));
  put($("machine"), el("section", "", el("h2", "", "device"), el("dl", "", ...rows)));
}
