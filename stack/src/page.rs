//! The stream page, embedded: our own files, and hls.js where it was there at build time.

include!(concat!(env!("OUT_DIR"), "/player.rs"));

/// One file of the page.
#[derive(Clone, Copy, Debug)]
pub struct PageFile {
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";

/// Whether hls.js is in this binary; without it the page plays only where HLS is native.
pub const fn has_player() -> bool {
    PLAYER.is_some()
}

/// The file the page knows as `name`.
pub fn file(name: &str) -> Option<PageFile> {
    let (content_type, bytes): (_, &'static [u8]) = match name {
        "index.html" => (HTML, include_bytes!("../page/index.html")),
        "page.css" => (CSS, include_bytes!("../page/page.css")),
        "page.js" => (SCRIPT, include_bytes!("../page/page.js")),
        "ledger.js" => (SCRIPT, include_bytes!("../page/ledger.js")),
        "video.js" => (SCRIPT, include_bytes!("../page/video.js")),
        "icon.svg" => (SVG, include_bytes!("../page/icon.svg")),
        // Without the library the page still asks for it; an empty script is the quiet answer.
        "hls.js" => (SCRIPT, PLAYER.map_or(&[], |player| player.script)),
        "hls.LICENSE" => (TEXT, PLAYER?.licence),
        _ => return None,
    };
    Some(PageFile { content_type, bytes })
}

/// hls.js as npm installed it.
#[derive(Clone, Copy)]
struct Player {
    script: &'static [u8],
    licence: &'static [u8],
}
