//! Text that is known in part when a request comes and whole when its answer does: variables of the
//! answer, and what an expression finds in one of its headers.

use http::{HeaderMap, HeaderValue};

use crate::captures::Captures;
use crate::kept_body::Told;
use crate::tried::Tried;

/// A variable of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerVariable {
    Status,
    /// By nginx's names: `HIT`, `MISS`, `STALE`, `REVALIDATED`, `BYPASS`; nothing where no cache was asked.
    CacheStatus,
    Header(String),
    /// A cookie that it sets.
    Cookie(String),
    /// Servers that were asked for it.
    TriedServers,
    /// What they said.
    TriedStatuses,
    /// The request's body, where its route keeps it.
    RequestBody,
    /// The file it lies in.
    RequestBodyFile,
}

/// A piece of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Answer(AnswerVariable),
    /// What an expression finds in the answer.
    Capture(String),
}

/// What is known of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub status: u16,
    pub headers: &'a HeaderMap,
    pub tried: &'a Tried,
    pub body: Option<&'a Told>,
}

/// Text of which some is known only when the answer is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Late(pub Vec<Piece>);

impl Late {
    /// The text, when all of it is known already.
    pub fn ready(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub fn text(&self, answer: &Answer<'_>, found: &Captures) -> String {
        let Answer { status, headers, tried, body } = *answer;
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Capture(name) => text.push_str(found.get(name)),
                Piece::Answer(AnswerVariable::Status) => text.push_str(&status.to_string()),
                Piece::Answer(AnswerVariable::CacheStatus) => text.push_str(cache_status(headers)),
                Piece::Answer(AnswerVariable::TriedServers) => text.push_str(&tried.servers()),
                Piece::Answer(AnswerVariable::TriedStatuses) => text.push_str(&tried.statuses()),
                Piece::Answer(AnswerVariable::RequestBody) => {
                    text.push_str(body.map_or("", |body| &body.text));
                }
                Piece::Answer(AnswerVariable::RequestBodyFile) => {
                    text.push_str(body.map_or("", |body| &body.file));
                }
                Piece::Answer(AnswerVariable::Cookie(name)) => {
                    text.push_str(&cookie(headers, name).unwrap_or_default());
                }
                Piece::Answer(AnswerVariable::Header(name)) => {
                    let values = headers.get_all(name.as_str()).iter();
                    let values: Vec<_> =
                        values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
                    text.push_str(&values.join(", "));
                }
            }
        }
        text
    }

    /// As the value of a header; none when it is empty or cannot be one.
    pub fn value(&self, answer: &Answer<'_>, found: &Captures) -> Option<HeaderValue> {
        let text = self.text(answer, found);
        HeaderValue::from_bytes(text.as_bytes()).ok().filter(|value| !value.is_empty())
    }
}

/// The first value that `Set-Cookie` gives this cookie; the name's case does not count.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get_all(http::header::SET_COOKIE).iter().find_map(|field| {
        let text = String::from_utf8_lossy(field.as_bytes()).into_owned();
        let pair = text.split(';').next().unwrap_or_default();
        let (is, value) = pair.split_once('=')?;
        let is = is.trim_matches(' ');
        is.eq_ignore_ascii_case(name).then(|| value.trim_matches(' ').to_owned())
    })
}

/// What the last member of `Cache-Status` (RFC 9211) says, as nginx would.
fn cache_status(headers: &HeaderMap) -> &'static str {
    let field = headers.get_all("cache-status").iter().next_back();
    cache_state(field.and_then(|field| field.to_str().ok()).unwrap_or_default())
}

/// The same of such a field.
pub fn cache_state(text: &str) -> &'static str {
    /// Why a request has nothing to do with the cache.
    const UNFIT: [&str; 4] =
        ["detail=method", "detail=body", "detail=precondition", "detail=no_host"];
    /// Why one goes beside it that might have.
    const PASSED: [&str; 5] = [
        "detail=uncacheable",
        "detail=waited",
        "detail=head",
        "detail=fills_full",
        "detail=uses_min",
    ];
    let own = text.rsplit(',').next().unwrap_or(text);
    let has = |word: &str| own.split(';').any(|part| part.trim() == word);
    match () {
        () if own.is_empty() => "",
        () if has("fwd=stale") && has("fwd-status=304") => "REVALIDATED",
        () if has("hit") && own.contains("ttl=-") => "STALE",
        () if has("hit") => "HIT",
        () if has("fwd=stale") => "EXPIRED",
        () if UNFIT.into_iter().any(has) || has("fwd=method") || has("fwd=request") => "",
        () if PASSED.into_iter().any(has) => "MISS",
        () if has("fwd=bypass") => "BYPASS",
        () => "MISS",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_known_in_the_end() {
        let mut headers = HeaderMap::new();
        headers.append("x", HeaderValue::from_static("1"));
        headers.append("x", HeaderValue::from_static("2"));
        let answer = |variable| Piece::Answer(variable);
        let late = Late(vec![
            Piece::Text("a ".to_owned()),
            answer(AnswerVariable::Header("x".to_owned())),
            answer(AnswerVariable::CacheStatus),
            Piece::Text(" ".to_owned()),
            answer(AnswerVariable::Status),
        ]);
        let tried = Tried::nothing();
        let about = Answer { status: 200, headers: &headers, tried: &tried, body: None };
        assert_eq!(late.text(&about, &Captures::default()), "a 1, 2 200");
        assert_eq!(late.ready(), None);
        for (field, expected) in [
            ("forebay; hit", "HIT"),
            ("forebay; hit; ttl=-3", "STALE"),
            ("other; hit, forebay; fwd=uri-miss; stored", "MISS"),
            ("forebay; fwd=stale; fwd-status=304", "REVALIDATED"),
            ("forebay; fwd=stale; fwd-status=200", "EXPIRED"),
            ("forebay; fwd=bypass", "BYPASS"),
            ("forebay; fwd=bypass; stored", "BYPASS"),
            ("forebay; fwd=bypass; detail=method", ""),
            ("forebay; fwd=bypass; detail=uncacheable", "MISS"),
        ] {
            headers.insert("cache-status", HeaderValue::from_static(field));
            assert_eq!(cache_status(&headers), expected, "{field}");
        }
    }
}
