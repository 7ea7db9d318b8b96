// The stream page: a player and a ledger panel, both through the proxy this page came from.
// `window.forebay` is what tests and curious people read.

import { showLedger } from "./ledger.js";
import { showStream } from "./video.js";

window.forebay = { firstFrameMs: null, stalls: 0, posted: 0, player: "none" };

showStream(window.forebay);
showLedger(window.forebay);
