// What asks, and keeps on asking.

let connected = false, process = "", sources = [], loops = [], heard = 0;

function show(state) {
  if (state.id !== process) {  // another process: nothing of the old one is true of it
    process = state.id;
    sources.forEach(source => { source.ended = true; });
    sources = [];
    loops = [];
    $("sources").replaceChildren();
    $("loops").replaceChildren();
  }
  state.sources.forEach((source, index) => {
    if (!sources[index]) $("sources").append((sources[index] = new Source(index, source.name)).box);
    sources[index].numbers(source);
  });
  while (loops.length > state.loops.length) loops.pop().box.remove();
  state.loops.forEach((loop, index) => {
    if (!loops[index]) $("loops").append((loops[index] = new Loop()).box);
    loops[index].show(loop);
  });
  machine(state.machine);
}

function connection(good) {
  connected = good;
  document.querySelector("main").classList.toggle("stale", !good);
  if (good) heard = Date.now();
  else loops.forEach(loop => loop.lost());
  put($("connection"), ...(good ? [badge("live", "good")]
    : [badge("no connection, trying again", "bad"), heard ? " these numbers are " + ago(Date.now() - heard) + " old" : ""]));
}

// One request after the other: where none is answered, none piles up.
(async () => {
  let wait = AGAIN_MS;
  for (;;) {
    await shown();
    let state = null;
    try {
      state = await ask("state", reply => reply.json());
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
    }
    connection(state !== null);
    if (state) show(state);
    await sleep(state ? STATE_MS : wait);
    wait = state ? AGAIN_MS : Math.min(AGAIN_MOST_MS, wait * 1.5);
  }
})();
