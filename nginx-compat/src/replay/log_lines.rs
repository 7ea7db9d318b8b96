//! Lines of access logs: what each of the two wrote about the same request. Both log by the configuration's own formats,
//! with what is never the same twice taken out, and with the number of the request before it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::replay::compare::Difference;
use crate::replay::echo;
use crate::replay::stated::LOGGED_IN_NORMAL_FORM;

/// The header that brings the number along.
pub const NUMBER: &str = "X-Replay";

/// The format in place of `combined`, and of the log that is nginx's default.
pub const FORMAT: &str = "replayed";
const LINE: &str =
    "$remote_addr $remote_user \"$request\" $status \"$http_referer\" \"$http_user_agent\"";

/// Times, sizes of what each server writes in its own way, and what belongs to a connection.
const UNSTEADY: [&str; 23] = [
    "body_bytes_sent",
    "bytes_sent",
    "connection",
    "connection_requests",
    "gzip_ratio",
    "msec",
    "pid",
    "proxy_port",
    "remote_port",
    "request_id",
    "request_length",
    "request_time",
    "server_port",
    "ssl_cipher",
    "ssl_protocol",
    "ssl_session_id",
    "time_iso8601",
    "time_local",
    "upstream_addr",
    "upstream_connect_time",
    "upstream_header_time",
    "upstream_response_length",
    "upstream_response_time",
];

/// Lines by the number of their request, each with the log it stands in.
pub type Lines = BTreeMap<usize, Vec<String>>;

/// Never the same twice, wherever they are told.
const PASSING: [&str; 7] =
    ["connection", "msec", "pid", "remote_port", "request_time", "time_iso8601", "time_local"];

/// A format with nothing unsteady in it.
pub fn steady(format: &str) -> String {
    without(&UNSTEADY, format)
}

/// A text that is the same whenever it is told.
pub fn lasting(text: &str) -> String {
    without(&PASSING, text)
}

fn without(names: &[&str], format: &str) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, behind) = braced.unwrap_or_else(|| {
            let belongs = |c: char| c.is_ascii_alphanumeric() || c == '_';
            after.split_at(after.find(|c| !belongs(c)).unwrap_or(after.len()))
        });
        match names.contains(&name) {
            true => text.push('-'),
            false => {
                text.push('$');
                text.push_str(&after[..after.len() - behind.len()]);
            }
        }
        rest = behind;
    }
    text + rest
}

/// The formats' definition in `http`, and the log of who says nothing of one.
pub fn frame(folder: &Path, side: &str, is_logged: bool) -> String {
    let mut text = format!("log_format {FORMAT} '$http_x_replay {LINE}';");
    if !is_logged {
        let file = file(folder, side, "default");
        text.push_str(&format!("access_log {} {FORMAT};", file.display()));
    }
    text
}

/// The folder of one side's logs.
pub fn folder(folder: &Path, side: &str) -> PathBuf {
    folder.join("logs").join(side)
}

/// Where a log is instead.
pub fn file(of: &Path, side: &str, name: &str) -> PathBuf {
    folder(of, side).join(format!("{name}.log"))
}

/// What one side wrote. Lines without a number are nobody's.
pub fn read(of: &Path, side: &str) -> Lines {
    let mut lines = Lines::new();
    let files = std::fs::read_dir(folder(of, side)).into_iter().flatten().flatten();
    for file in files {
        let log = file.file_name().to_string_lossy().into_owned();
        let text = std::fs::read(file.path()).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            let Some((number, said)) = line.split_once(' ') else { continue };
            let Ok(number) = number.parse() else { continue };
            lines.entry(number).or_default().push(format!("{log}: {said}"));
        }
    }
    lines.values_mut().for_each(|of_one| of_one.sort());
    lines
}

/// What excuses lines that differ.
#[derive(Clone, Copy, Debug)]
pub struct Excuse<'a> {
    /// Names of the logs that are kept otherwise.
    pub other_logs: &'a BTreeSet<String>,
    /// Why the two have other things to tell; none where their answers are alike.
    pub answers: Option<&'static str>,
}

/// How the lines about one request differ, and whether that was to be expected.
pub fn difference(
    (number, target): (usize, &str),
    nginx: &Lines,
    forebay: &Lines,
    excuse: Excuse<'_>,
) -> Option<Difference> {
    let nothing = Vec::new();
    let [a, b] = [nginx, forebay].map(|side| side.get(&number).unwrap_or(&nothing));
    let said = |lines: &[String]| match lines {
        [] => "no line".to_owned(),
        lines => lines.join(" | "),
    };
    // Whatever else a line says, the path in it may stand there in its normal form.
    let normal = echo::normal(target);
    let in_one_form: Vec<String> = a.iter().map(|line| line.replace(target, &normal)).collect();
    let is_kept = |line: &&String| {
        let log = line.split_once(": ").map_or("", |(log, _)| log);
        !excuse.other_logs.contains(log)
    };
    let kept = |lines: &[String]| lines.iter().filter(is_kept).cloned().collect::<Vec<_>>();
    let why = match () {
        () if in_one_form == *b => Some(LOGGED_IN_NORMAL_FORM),
        () if kept(&in_one_form) == kept(b) => {
            Some("a log is kept otherwise; see access_log and log_format")
        }
        () => excuse.answers,
    };
    (a != b).then(|| Difference {
        cause: "lines of the log".to_owned(),
        nginx: said(a),
        forebay: said(b),
        stated: why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_the_same_twice_is_taken_out() {
        let format =
            "$remote_addr [$time_local] ${request_time}s \"$request\" $pid $upstream_cache_status";
        let steady = steady(format);
        assert_eq!(lasting("t=${msec} $1 $request_id"), "t=- $1 $request_id");
        assert_eq!(steady, "$remote_addr [-] -s \"$request\" - $upstream_cache_status");
    }

    #[test]
    fn lines_are_those_of_a_request_in_whichever_log() {
        let folder = tempfile::tempdir().unwrap();
        for (side, log, text) in [
            ("nginx", "a", "0 one\n1 two\n- nobody's\n"),
            ("nginx", "b", "1 three\n"),
            ("forebay", "a", "1 two\n"),
            ("forebay", "b", "1 three\n0 one\n"),
        ] {
            std::fs::create_dir_all(self::folder(folder.path(), side)).unwrap();
            std::fs::write(file(folder.path(), side, log), text).unwrap();
        }
        let [nginx, forebay] = ["nginx", "forebay"].map(|side| read(folder.path(), side));
        let none = BTreeSet::new();
        let plain = Excuse { other_logs: &none, answers: None };
        assert_eq!(difference((1, "/"), &nginx, &forebay, plain), None);
        let found = difference((0, "/x"), &nginx, &forebay, plain).unwrap();
        assert_eq!((found.nginx.as_str(), found.forebay.as_str()), ("a.log: one", "b.log: one"));
        assert_eq!(found.stated, None);
        assert_eq!(difference((2, "/"), &nginx, &forebay, plain), None, "neither has one");
    }

    #[test]
    fn lines_are_excused_by_what_makes_them_differ_and_by_nothing_else() {
        let of = |a: &str, b: &str, excuse| {
            let [a, b] = [a, b].map(|line| Lines::from([(0, vec![line.to_owned()])]));
            difference((0, "/%7Ea"), &a, &b, excuse).unwrap().stated
        };
        let (none, main) = (BTreeSet::new(), BTreeSet::from(["main.log".to_owned()]));
        let plain = Excuse { other_logs: &none, answers: None };
        let (foreign, normal) = ("main.log: GET /%7Ea 200", "main.log: GET /~a 200");
        assert_eq!(of(foreign, normal, plain), Some(LOGGED_IN_NORMAL_FORM));
        assert_eq!(of(normal, foreign, plain), None, "nginx's in normal form, Forebay's not");
        assert_eq!(of(foreign, "main.log: GET /~a 404", plain), None, "another status");
        let of_main = Excuse { other_logs: &main, ..plain };
        assert!(of(foreign, "main.log: something else", of_main).is_some());
        assert_eq!(of("shop.log: a", "shop.log: b", of_main), None, "another log");
        let of_answers = Excuse { answers: Some("the answers differ"), ..plain };
        assert_eq!(of("shop.log: a", "shop.log: b", of_answers), Some("the answers differ"));
    }
}
