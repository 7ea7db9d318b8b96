// Plays a live HLS stream, with hls.js where this build has it, else natively, and tells how it goes.

const RETRY_MS = 1000;
const THIN_S = 0.8;
const AMPLE_S = 2.3;
const SLOWER = 0.94;
const element = (id) => document.getElementById(id);
const seconds = (value) => `${Math.max(0, value).toFixed(1)} s`;

export async function showStream(facts) {
  const streams = await listStreams();
  if (streams.length === 0) {
    say("There is no live stream on this machine. forebay up and forebay status say why.");
    element("stream-state").textContent = "no stream";
    return;
  }
  const choice = element("stream-name");
  choice.replaceChildren(...streams.map(({ name, playlist }) => new Option(name, playlist)));
  element("stream-choice").hidden = streams.length < 2;
  const video = element("video");
  const clock = watch(video, facts);
  let player = play(video, choice.value, facts, clock);
  choice.addEventListener("change", () => {
    player.stop();
    player = play(video, choice.value, facts, clock);
  });
}

// The origin may come up a moment after the page did, so a failure is asked about again.
async function listStreams() {
  for (;;) {
    try {
      const answer = await fetch("/streams.json", { cache: "no-store" });
      if (answer.ok) return (await answer.json()).streams;
      say(`The list of streams answers ${answer.status}; asking again.`);
    } catch {
      say("The proxy does not answer; asking again.");
    }
    await new Promise((done) => setTimeout(done, RETRY_MS));
  }
}

function play(video, playlist, facts, clock) {
  say("");
  if (window.Hls?.isSupported()) {
    return playWithLibrary(video, playlist, facts, clock);
  }
  if (video.canPlayType("application/vnd.apple.mpegurl")) {
    return playNatively(video, playlist, facts, clock);
  }
  say("This browser does not play HLS by itself, and this build of forebay has no hls.js in it. " +
    "Run npm ci in stack/page and build again.");
  clock.player(facts, "none");
  return { stop() {} };
}

function playWithLibrary(video, playlist, facts, clock) {
  const { Hls } = window;
  // No worker: it would be made from a blob, which the page's policy forbids, and fMP4 needs none.
  const hls = new Hls({ enableWorker: false, backBufferLength: 10, liveSyncDurationCount: 3 });
  let retry = 0;
  hls.on(Hls.Events.MANIFEST_PARSED, () => { say(""); start(video); });
  hls.on(Hls.Events.ERROR, (_, error) => {
    if (!error.fatal) return;
    if (error.type === Hls.ErrorTypes.MEDIA_ERROR) {
      hls.recoverMediaError();
      return;
    }
    // Proxy, origin or ffmpeg is being restarted: take the playlist anew until it is back.
    clock.stalled();
    clearTimeout(retry);
    retry = setTimeout(() => hls.loadSource(playlist), RETRY_MS);
  });
  hls.loadSource(playlist);
  hls.attachMedia(video);
  clock.player(facts, `hls.js ${Hls.version}`);
  clock.liveTime = () => hls.playingDate;
  element("player-licence").hidden = false;
  return { stop() { clearTimeout(retry); hls.destroy(); } };
}

function playNatively(video, playlist, facts, clock) {
  let retry = 0;
  const again = () => {
    clearTimeout(retry);
    retry = setTimeout(() => { video.src = playlist; start(video); }, RETRY_MS);
  };
  video.addEventListener("error", again);
  video.src = playlist;
  start(video);
  clock.player(facts, "native");
  clock.liveTime = () => {
    const begun = video.getStartDate?.();
    return begun && new Date(begun.getTime() + video.currentTime * 1000);
  };
  return { stop() { clearTimeout(retry); video.removeEventListener("error", again); } };
}

function start(video) {
  // Who asked for less motion starts the picture by hand.
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  video.play().catch(() => {});
}

// Counts stalls and keeps the line of facts under the picture.
function watch(video, facts) {
  const clock = { liveTime: () => null, player: tellPlayer, stalled };
  let waiting = false;
  const firstFrame = () => {
    if (facts.firstFrameMs !== null) return;
    facts.firstFrameMs = Math.round(performance.now());
    element("stream-first").textContent = seconds(facts.firstFrameMs / 1000);
  };
  function stalled() {
    if (facts.firstFrameMs === null || waiting || video.paused || video.seeking) return;
    waiting = true;
    facts.stalls += 1;
  }
  if (video.requestVideoFrameCallback) {
    video.requestVideoFrameCallback(firstFrame);
  } else {
    video.addEventListener("timeupdate", firstFrame, { once: true });
  }
  video.addEventListener("waiting", stalled);
  video.addEventListener("playing", () => { waiting = false; });
  setInterval(() => {
    const state = facts.firstFrameMs === null ? (video.paused ? "ready" : "starting")
      : waiting ? "stalled" : video.paused ? "paused" : "playing";
    const shown = element("stream-state");
    // Written only when it changes, so that a screen reader says it only then.
    if (shown.textContent !== state) shown.textContent = state;
    shown.dataset.state = state;
    element("stream-stalls").textContent = String(facts.stalls);
    const ahead = buffered(video);
    element("stream-buffer").textContent = seconds(ahead);
    // A restarted encoder loses a moment of picture, and the live edge comes that much closer.
    // Playing a little slower, too little to be noticed, wins the distance back.
    if (state === "playing" && ahead < THIN_S) video.playbackRate = SLOWER;
    if (ahead > AMPLE_S) video.playbackRate = 1;
    const live = clock.liveTime();
    element("stream-latency").textContent = live ? seconds((Date.now() - live) / 1000) : "–";
  }, 500);
  return clock;
}

function tellPlayer(facts, player) {
  facts.player = player;
  element("stream-player").textContent = player;
}

function buffered({ buffered: ranges, currentTime }) {
  for (let n = 0; n < ranges.length; n += 1) {
    if (ranges.start(n) <= currentTime + 0.1 && currentTime <= ranges.end(n)) {
      return ranges.end(n) - currentTime;
    }
  }
  return 0;
}

function say(text) {
  const message = element("stream-message");
  message.textContent = text;
  message.hidden = text === "";
}
