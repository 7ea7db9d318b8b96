//! What nginx does without being told and Forebay does otherwise, as far as a configuration may show it.

use proxy_config::Config;

const PATHS: &str = "Forebay passes paths on, logs and caches them in their normal form (dot segments, // and needless escapes resolved), as it matched them; nginx passes them on as they came";
const ERRORS: &str = "pages of errors say `Cache-Control: no-store`, so that no cache keeps them; nginx says nothing";
const PARTS: &str =
    "a part of a file says `Accept-Ranges`, as the whole does; nginx leaves it out of parts";
const SLASHES: &str = "a path with an escaped slash (`%2F`), backslash or control character is refused with 400, and parameters of paths (`/a;x/b`) are no part of what `location` and expressions see; nginx takes both as any other character";
const LINKS: &str = "symbolic links that lead out of a `root` or `alias` are as good as absent (404); nginx follows them";
const NAMES: &str = "headers of requests whose names have underscores or dots are passed on, unless a server could take them for a header that is set here; nginx drops them unless `underscores_in_headers` or `ignore_invalid_headers` say otherwise";
const TRANSFORM: &str = "answers that say `Cache-Control: no-transform` are not compressed, as RFC 9110 has it; nginx's gzip compresses them";
const LED: &str = "`X-Accel-Redirect` is obeyed in servers that have an `internal` location, where nothing is cached; nginx obeys it everywhere";

/// Of a configuration that was translated; none of another.
pub fn notes(config: Option<&Config>) -> Vec<String> {
    let Some(config) = config else { return Vec::new() };
    let has_files = config.routes.iter().any(|route| route.files.is_some());
    let compresses = config.routes.iter().any(|route| route.compression.is_some());
    let has_upstreams = !config.upstreams.is_empty();
    let notes = [
        (PATHS, true),
        (ERRORS, true),
        (PARTS, true),
        (SLASHES, true),
        (LINKS, has_files),
        (NAMES, has_upstreams),
        (LED, has_upstreams),
        (TRANSFORM, compresses),
    ];
    notes.into_iter().filter(|(_, applies)| *applies).map(|(note, _)| note.to_owned()).collect()
}
