//! Differences that a report states beforehand, each as narrow as it is: what excuses one answer excuses no other.

use std::collections::BTreeSet;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;

use crate::replay::echo::{self, Seen};
use crate::replay::wire::Answer;

/// Why a path may stand somewhere otherwise than nginx has it.
pub const NORMAL_FORM: &str = "Forebay passes paths on in their normal form";
/// The same of a line of a log.
pub const LOGGED_IN_NORMAL_FORM: &str = "Forebay logs paths in their normal form";

/// Longest body that is unpacked.
const PLAIN_MAX: u64 = 64 << 20;

/// What the report says of a request before it is asked.
#[derive(Clone, Debug, Default)]
pub struct Stated {
    /// Its location is not translated and answers 502.
    pub not_translated: bool,
    /// Its location goes uncached, although the configuration says otherwise.
    pub uncached: bool,
    /// Its location caches, and what HEAD brings is not kept.
    pub head_is_passed_on: bool,
    /// Its location caches, or may lead to one that does.
    pub cached: bool,
    /// A part of an answer was asked for.
    pub in_part: bool,
    /// It was asked for unless the client has it.
    pub if_modified: bool,
    /// Some location caches: it may be led to one.
    pub some_cached: bool,
    /// Answers are not compressed although the configuration says so.
    pub uncompressed: bool,
    /// Its location puts pages together from parts.
    pub put_together: bool,
    /// Its location changes bodies, which are asked for whole.
    pub changed: bool,
    /// Its location asks somebody who may pass.
    pub asks_who: bool,
    /// What was asked for.
    pub asked: String,
    /// Names of the logs that are not kept as nginx keeps them.
    pub other_logs: BTreeSet<String>,
    /// Headers, in small letters, that nginx puts into answers which lack them.
    pub not_put_in: BTreeSet<String>,
    /// Pools that only untranslated directives lead to.
    pub lost_pools: BTreeSet<String>,
}

/// Why the status may be another.
pub fn status(nginx: &Answer, forebay: &Answer, stated: &Stated) -> Option<&'static str> {
    match (nginx.status, forebay.status) {
        (of_nginx, 502) if stated.not_translated && of_nginx != 502 => {
            Some("the location is not translated")
        }
        (206 | 304, 200) if stated.uncached => Some("the location goes uncached; see proxy_cache"),
        (200, 206) if stated.cached && stated.in_part => {
            Some("what is cached is sent in part to who asks so")
        }
        (200, 304) if stated.cached && stated.if_modified => {
            Some("what is cached is not sent to who has it, by RFC 9110")
        }
        (304, 200) if stated.put_together => {
            Some("a page that is put together is sent anew; see ssi")
        }
        _ => None,
    }
}

/// Why one of the two may have asked the upstream more often.
pub fn count(nginx: &[Seen], forebay: &[Seen], stated: &Stated) -> Option<&'static str> {
    let only_forebay = nginx.is_empty() && forebay.len() == 1;
    let is_head = forebay.iter().all(|seen| seen.method == "HEAD");
    let another_form = nginx.len() == 1 && forebay.is_empty() && !is_normal(&stated.asked);
    match () {
        () if only_forebay && stated.uncached => {
            Some("the location goes uncached; see proxy_cache")
        }
        () if only_forebay && is_head && stated.head_is_passed_on => {
            Some("HEAD is passed on each time; see proxy_cache")
        }
        () if another_form && stated.some_cached => {
            Some("Forebay caches by paths in their normal form")
        }
        () => None,
    }
}

/// Why a path that both sent on may differ: Forebay's is nginx's in normal form, and nothing else.
pub fn path(nginx: &str, forebay: &str) -> Option<&'static str> {
    (echo::normal(nginx) == forebay).then_some(NORMAL_FORM)
}

/// Why a field of an answer may differ: errors are not for caches to keep.
pub fn field(
    name: &str,
    nginx: &str,
    forebay: &str,
    (status, stated): (u16, &Stated),
) -> Option<&'static str> {
    match (name, nginx, forebay) {
        ("cache-control", "", "no-store") if status >= 400 => {
            Some("Forebay lets no cache keep the page of an error")
        }
        ("accept-ranges", "", "bytes") if status == 206 => {
            Some("Forebay says with a part, too, that there are ranges")
        }
        (_, _, "") if stated.not_put_in.contains(name) => {
            Some("where the upstream sends none, nginx puts one in; see add_header")
        }
        (_, _, "") if status == 304 && stated.cached => {
            Some("a 304 of Forebay's says no more of what is cached than it has to")
        }
        _ => None,
    }
}

/// Why a field that an upstream was told may differ.
pub fn told(name: &str, nginx: &str, forebay: &str, stated: &Stated) -> Option<&'static str> {
    const CONDITIONS: [&str; 3] = ["if-modified-since", "if-none-match", "range"];
    match () {
        () if names_the_target(name) && nginx.starts_with('/') => path(nginx, forebay),
        () if stated.asks_who && forebay.is_empty() && CONDITIONS.contains(&name) => {
            Some("who says who may pass is not told of conditions and ranges; see auth_request")
        }
        () if stated.changed && forebay.is_empty() && name == "range" => {
            Some("what is changed on its way is asked for whole; see sub_filter and gunzip")
        }
        () => None,
    }
}

/// Fields that tell what was asked for: scripts' own, and headers that are no standard's.
fn names_the_target(name: &str) -> bool {
    ["request_uri", "path_info"].contains(&name) || name.starts_with("x-")
}

/// The body without its coding: two programs may pack the same in two ways. What cannot be unpacked is compared as it is.
pub fn decoded(answer: &Answer) -> Vec<u8> {
    let packed =
        answer.headers.iter().any(|(name, value)| name == "content-encoding" && value == "gzip");
    let mut plain = Vec::new();
    let unpacked =
        || MultiGzDecoder::new(answer.body.as_slice()).take(PLAIN_MAX).read_to_end(&mut plain);
    match packed.then(unpacked) {
        Some(Ok(_)) => plain,
        _ => answer.body.clone(),
    }
}

fn is_normal(target: &str) -> bool {
    echo::normal(target) == target
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: Vec::new() }
    }

    fn seen(method: &str) -> Vec<Seen> {
        let (pool, target, method) = ("p".to_owned(), "/".to_owned(), method.to_owned());
        vec![Seen { pool, method, target, headers: Vec::new(), body: Vec::new() }]
    }

    #[test]
    fn a_location_that_is_not_translated_answers_502_and_nothing_else() {
        let closed = Stated { not_translated: true, ..Stated::default() };
        assert!(status(&answer(200), &answer(502), &closed).is_some());
        assert_eq!(status(&answer(200), &answer(404), &closed), None);
        assert_eq!(status(&answer(200), &answer(502), &Stated::default()), None);
    }

    #[test]
    fn heads_are_excused_where_the_policy_passes_them_on() {
        let passed = Stated { some_cached: true, head_is_passed_on: true, ..Stated::default() };
        let kept = Stated { head_is_passed_on: false, ..passed.clone() };
        assert!(count(&[], &seen("HEAD"), &passed).is_some());
        assert_eq!(count(&[], &seen("GET"), &passed), None, "a GET that nginx had kept");
        assert_eq!(count(&[], &seen("HEAD"), &kept), None, "HEAD begins a fill here");
        assert_eq!(count(&seen("HEAD"), &[], &passed), None, "nginx asked, Forebay did not");
        let twice = [seen("HEAD"), seen("HEAD")].concat();
        assert_eq!(count(&[], &twice, &passed), None, "asked twice");
    }

    #[test]
    fn another_form_of_a_path_is_excused_where_answers_are_kept_and_it_was_asked_for() {
        let of = |asked: &str, some_cached| Stated {
            asked: asked.to_owned(),
            some_cached,
            ..Stated::default()
        };
        assert!(count(&seen("GET"), &[], &of("/%7Ea", true)).is_some());
        assert_eq!(count(&seen("GET"), &[], &of("/~a", true)), None, "one form only");
        assert_eq!(count(&seen("GET"), &[], &of("/%7Ea", false)), None, "nothing is kept");
        assert_eq!(count(&[], &seen("GET"), &of("/%7Ea", true)), None, "Forebay asked again");
        assert_eq!(count(&seen("GET"), &[], &of("/a?b=%7E", true)), None, "a query has one form");
    }

    #[test]
    fn a_location_that_goes_uncached_excuses_its_own_requests_only() {
        let uncached = Stated { uncached: true, ..Stated::default() };
        assert!(count(&[], &seen("GET"), &uncached).is_some());
        assert!(status(&answer(304), &answer(200), &uncached).is_some());
        assert_eq!(status(&answer(304), &answer(200), &Stated::default()), None);
        assert_eq!(count(&[], &seen("GET"), &Stated::default()), None);
        assert_eq!(count(&seen("GET"), &[], &uncached), None, "nginx asked, Forebay did not");
    }

    #[test]
    fn only_pages_of_errors_are_marked() {
        let none = &Stated::default();
        assert!(field("cache-control", "", "no-store", (404, none)).is_some());
        assert_eq!(field("cache-control", "", "no-store", (200, none)), None);
        assert_eq!(field("cache-control", "max-age=1", "no-store", (404, none)), None);
        assert_eq!(field("cache-control", "", "no-cache", (404, none)), None);
        assert_eq!(field("x", "", "no-store", (404, none)), None);
        let cached = &Stated { cached: true, ..Stated::default() };
        assert!(field("x", "a", "", (304, cached)).is_some());
        assert_eq!(field("x", "a", "b", (304, cached)), None);
        assert_eq!(field("x", "a", "", (200, cached)), None);
        assert_eq!(field("x", "a", "", (304, none)), None);
    }

    #[test]
    fn packed_bodies_are_the_same_when_what_is_in_them_is() {
        use std::io::Write as _;
        let packed = |text: &str, level| {
            let mut coder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
            coder.write_all(text.as_bytes()).unwrap();
            let coded = ("content-encoding".to_owned(), "gzip".to_owned());
            Answer { headers: vec![coded], body: coder.finish().unwrap(), ..answer(200) }
        };
        let text = "one text ".repeat(99);
        let (fast, small) = (packed(&text, 1), packed(&text, 9));
        assert_ne!(fast.body, small.body);
        assert_eq!(decoded(&fast), decoded(&small));
        assert_ne!(decoded(&fast), decoded(&packed("another", 1)));
        let broken = Answer { body: fast.body[..9].to_vec(), ..fast.clone() };
        assert_ne!(decoded(&broken), decoded(&fast));
    }

    #[test]
    fn what_is_told_differs_by_the_form_of_a_path_or_by_conditions_alone() {
        let (none, asks) = (Stated::default(), Stated { asks_who: true, ..Stated::default() });
        assert_eq!(told("x-uri", "/%7Ea", "/~a", &none), Some(NORMAL_FORM));
        assert_eq!(told("x-uri", "/%7Ea", "/b", &none), None);
        assert_eq!(told("script_filename", "/%7Ea", "/~a", &none), None);
        assert!(told("range", "bytes=0-1", "", &asks).is_some());
        assert_eq!(told("range", "bytes=0-1", "", &none), None);
        assert_eq!(told("range", "bytes=0-1", "bytes=0-2", &asks), None);
        assert_eq!(told("cookie", "a", "", &asks), None);
        let changed = Stated { changed: true, ..Stated::default() };
        assert!(told("range", "bytes=0-1", "", &changed).is_some());
        assert_eq!(told("if-none-match", "a", "", &changed), None);
        assert_eq!(told("range", "bytes=0-1", "bytes=0-2", &changed), None);
    }

    #[test]
    fn a_header_is_missing_where_it_is_not_put_in_and_nowhere_else() {
        let stated = Stated { not_put_in: ["x-a".to_owned()].into(), ..Stated::default() };
        let of = |name, nginx, forebay| field(name, nginx, forebay, (200, &stated)).is_some();
        assert!(of("x-a", "1", ""));
        assert!(!of("x-a", "1", "2") && !of("x-b", "1", ""));
    }

    #[test]
    fn what_is_cached_is_sent_in_part_and_under_conditions_where_that_was_asked_for() {
        let of = |cached, in_part, if_modified| Stated {
            cached,
            in_part,
            if_modified,
            ..Stated::default()
        };
        assert!(status(&answer(200), &answer(206), &of(true, true, false)).is_some());
        assert_eq!(status(&answer(200), &answer(206), &of(false, true, true)), None);
        assert_eq!(status(&answer(200), &answer(206), &of(true, false, true)), None);
        assert!(status(&answer(200), &answer(304), &of(true, false, true)).is_some());
        assert_eq!(status(&answer(200), &answer(304), &of(true, true, false)), None);
        assert_eq!(status(&answer(206), &answer(200), &of(true, true, true)), None);
    }

    #[test]
    fn parts_and_pages_that_are_put_together_differ_so_and_no_other_way() {
        let none = &Stated::default();
        assert!(field("accept-ranges", "", "bytes", (206, none)).is_some());
        assert_eq!(field("accept-ranges", "", "bytes", (200, none)), None);
        let together = Stated { put_together: true, ..Stated::default() };
        assert!(status(&answer(304), &answer(200), &together).is_some());
        assert_eq!(status(&answer(304), &answer(200), &Stated::default()), None);
        assert_eq!(status(&answer(200), &answer(304), &together), None);
    }

    #[test]
    fn a_path_differs_by_its_normal_form_alone() {
        assert_eq!(path("/a/../%7Eb?c=%7E", "/~b?c=%7E"), Some(NORMAL_FORM));
        for (nginx, forebay) in [
            ("/~b", "/%7Eb"),
            ("/%7Eb", "/~b/"),
            ("/%7Eb?c=%7E", "/~b?c=~"),
            ("/a%2Fb", "/a/b"),
            ("/%7Eb", "/%7eb"),
        ] {
            assert_eq!(path(nginx, forebay), None, "{nginx} {forebay}");
        }
    }
}
