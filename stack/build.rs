//! Embeds hls.js when `npm ci` has put it beside the page; builds without it otherwise.

use std::path::Path;
use std::{env, fs};

const SCRIPT: &str = "page/node_modules/hls.js/dist/hls.light.min.js";
const LICENCE: &str = "page/node_modules/hls.js/LICENSE";

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    let (script, licence) = (Path::new(&root).join(SCRIPT), Path::new(&root).join(LICENCE));
    // The folder, not the file: a path that does not exist would make every build start over.
    println!("cargo::rerun-if-changed=page");
    let out = Path::new(&out);
    // Copies: a build folder that is moved, or shared by several checkouts, stays whole.
    let copied =
        fs::copy(script, out.join("hls.js")).and_then(|_| fs::copy(licence, out.join("LICENSE")));
    let value = if copied.is_ok() {
        "Some(Player { script: include_bytes!(\"hls.js\"), licence: include_bytes!(\"LICENSE\") })"
    } else {
        "None"
    };
    let text = format!("const PLAYER: Option<Player> = {value};\n");
    fs::write(out.join("player.rs"), text).expect("OUT_DIR can be written");
}
