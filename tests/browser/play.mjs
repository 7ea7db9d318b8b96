// Opens the stream page in Chromium as a viewer would, watches the picture while transfers are posted
// from the page, and prints what was seen as one line of JSON. Exit status 1 when something is wrong.
//
//   node play.mjs PAGE_URL [--seconds 20] [--screenshot FILE] [--width 1440]
import { parseArgs } from "node:util";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "20" },
    width: { type: "string", default: "1440" },
    screenshot: { type: "string" },
  },
});
const [url] = positionals;
const seconds = Number(values.seconds);
const profile = mkdtempSync(join(tmpdir(), "forebay-browser-"));

// Nothing but the page itself: no updates, no look-ups, no GPU.
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.FOREBAY_CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  viewport: { width: Number(values.width), height: 900 },
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--autoplay-policy=no-user-gesture-required",
  ],
});

const complaints = [];
const origins = new Set();
try {
  const page = context.pages()[0] ?? (await context.newPage());
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    if (request.url().startsWith("http")) origins.add(new URL(request.url()).origin);
  });

  const opened = performance.now();
  await page.goto(url, { waitUntil: "domcontentloaded" });
  await page.waitForFunction(() => document.querySelector("video")?.currentTime > 0, null, { timeout: 15_000 });
  const firstFrameMs = Math.round(performance.now() - opened);

  // Sampled in the page every 100 ms: a second in which the picture does not move is a stall.
  await page.evaluate(() => {
    const video = document.querySelector("video");
    const seen = { stalls: 0, longestStillMs: 0 };
    let last = video.currentTime, stillSince = performance.now(), counted = false;
    setInterval(() => {
      const now = performance.now();
      if (video.currentTime !== last) {
        last = video.currentTime; stillSince = now; counted = false;
      } else {
        seen.longestStillMs = Math.max(seen.longestStillMs, now - stillSince);
        if (now - stillSince > 1000 && !counted) { seen.stalls += 1; counted = true; }
      }
    }, 100);
    window.watched = seen;
  });

  const startedAt = await page.evaluate(() => document.querySelector("video").currentTime);
  const framesAtStart = await page.evaluate(() => document.querySelector("video").getVideoPlaybackQuality().totalVideoFrames);
  const until = performance.now() + seconds * 1000;
  let clicks = 0;
  while (performance.now() < until) {
    await page.getByRole("button", { name: /post a transfer/i }).click();
    clicks += 1;
    await page.waitForFunction((wanted) => window.forebay.posted >= wanted, clicks, { timeout: 10_000 });
    await page.waitForTimeout(1000);
  }

  const result = await page.evaluate(() => {
    const video = document.querySelector("video");
    const quality = video.getVideoPlaybackQuality();
    return {
      player: window.forebay.player,
      page: { ...window.forebay },
      watched: window.watched,
      currentTime: video.currentTime,
      frames: quality.totalVideoFrames,
      picture: [video.videoWidth, video.videoHeight],
      overflow: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    };
  });
  if (values.screenshot) await page.screenshot({ path: values.screenshot });
  const seenUntilHere = [...complaints];

  // The first answer is lost after the ledger booked; the same posting again, and once more after that.
  const keys = [];
  await page.route("**/v1/transfers", async (route) => {
    if (route.request().method() !== "POST") return route.continue();
    keys.push(route.request().headers()["idempotency-key"]);
    await route.fetch();
    return keys.length === 1 ? route.abort() : route.continue();
  });
  for (const answer of [/counts once/, /^Posted/, /^Posted/]) {
    await page.locator("#posting").evaluate((told) => (told.textContent = ""));
    await page.getByRole("button", { name: /post a transfer/i }).click();
    await page.locator("#posting", { hasText: answer }).waitFor({ timeout: 10_000 });
  }
  console.log(JSON.stringify({
    ...result, firstFrameMs, clicks, seconds,
    playedSeconds: result.currentTime - startedAt,
    framesPlayed: result.frames - framesAtStart,
    origins: [...origins], complaints: seenUntilHere, keys,
  }));
} finally {
  await context.close();
  rmSync(profile, { recursive: true, force: true });
}
