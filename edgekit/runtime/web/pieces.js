"use strict";
// All text goes in by textContent: what a label says is never markup.
const STATE_MS = 250, FRAME_MS = 100, PATIENCE_MS = 5000, AGAIN_MS = 500, AGAIN_MOST_MS = 3000, OLD_MS = 2000;
const SVG = "http://www.w3.org/2000/svg";
const TONES = {running: "good", degraded: "warn", blind: "bad", hung: "bad", "new": "unknown", ended: "unknown"};
const $ = id => document.getElementById(id);
const sleep = ms => new Promise(done => setTimeout(done, ms));
const shown = () => document.hidden
  ? new Promise(done => document.addEventListener("visibilitychange", done, {once: true})) : null;
const ms = value => value < 9.95 ? value.toFixed(1) : value < 9999.5 ? value.toFixed(0) : (value / 1000).toFixed(0) + " k";
const many = value => value.toLocaleString("en");
const ago = value => value < 9950 ? (value / 1000).toFixed(1) + " s" : value < 120000 ? Math.round(value / 1000) + " s"
  : value < 7200000 ? Math.round(value / 60000) + " min" : Math.round(value / 3600000) + " h";

function el(tag, cls, ...parts) {
  const made = document.createElement(tag);
  if (cls) made.className = cls;
  made.append(...parts);
  return made;
}

function svg(tag, cls, attributes) {
  const made = document.createElementNS(SVG, tag);
  if (cls) made.setAttribute("class", cls);
  for (const name in attributes) made.setAttribute(name, attributes[name]);
  return made;
}

const badge = (text, tone) => el("span", "badge t-" + tone, text);

// Replaces the content only where it differs, so that a selection of text survives and nothing is laid out in vain.
function put(parent, ...parts) {
  const fresh = el(parent.tagName, "", ...parts).childNodes, old = parent.childNodes;
  if (fresh.length === old.length && [...fresh].every((node, index) => node.isEqualNode(old[index]))) return;
  const at = parent.scrollTop;
  parent.replaceChildren(...fresh);
  parent.scrollTop = at;
}

class NoAnswer extends Error {}

// What a path gives, taken apart by `read`; null where there is nothing new. Throws NoAnswer where none comes.
async function ask(path, read) {
  const patience = new AbortController(), timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  try {
    const reply = await fetch(path, {signal: patience.signal, cache: "no-store"});
    if (!reply.ok) throw new NoAnswer(reply.status);
    return reply.status === 204 ? null : await read(reply);
  } catch (error) {
    throw new NoAnswer(error);
  } finally {
    clearTimeout(timer);
  }
}

// A line through values over the whole width; it is broken where there is no value. Heights go from `low` to `high`.
function polylines(values, low, high, height, cls) {
  const runs = [[]], step = 1000 / Math.max(1, values.length - 1);
  values.forEach((value, index) => {
    if (value === null) { if (runs[runs.length - 1].length) runs.push([]); return; }
    const y = height * (1 - (value - low) / (high - low || 1));
    runs[runs.length - 1].push((index * step).toFixed(1) + "," + y.toFixed(1));
  });
  return runs.filter(run => run.length).map(run => {
    if (run.length === 1) run.push(run[0]);  // a dot, by its round ends
    return svg("polyline", cls, {points: run.join(" ")});
  });
}

function drawing(height, label) {
  return svg("svg", "", {viewBox: "0 0 1000 " + height, height, preserveAspectRatio: "none", role: "img", "aria-label": label});
}

const colours = new Map();
function colour(name) {
  if (!colours.has(name)) colours.set(name, colours.size % 8);
  return colours.get(name);
}
