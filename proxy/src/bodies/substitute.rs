//! Texts in bodies replaced by others, wherever their parts are cut.

use std::io;

use aho_corasick::{AhoCorasick, MatchKind};
use pingora::http::ResponseHeader;
use proxy_config::route_action::Substitutions;

use crate::bodies::change::Change;
use crate::headers::media_type;

/// What is done for one request.
pub struct Substitute {
    types: Vec<String>,
    once: bool,
    pub keeps_last_modified: bool,
    finder: AhoCorasick,
    replacements: Vec<Vec<u8>>,
    longest: usize,
}

impl Substitute {
    /// `pairs` are what is looked for and what comes in its place, for this request; nothing where none looks for
    /// anything.
    pub fn of(rules: &Substitutions, pairs: &[(String, String)]) -> Option<Substitute> {
        let pairs: Vec<&(String, String)> =
            pairs.iter().filter(|(find, _)| !find.is_empty()).collect();
        let finder = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostFirst)
            .build(pairs.iter().map(|(find, _)| find))
            .ok()?;
        let longest = pairs.iter().map(|(find, _)| find.len()).max()?;
        Some(Substitute {
            types: rules.types.clone(),
            once: rules.once,
            keeps_last_modified: rules.keep_last_modified,
            finder,
            replacements: pairs.iter().map(|(_, with)| with.clone().into_bytes()).collect(),
            longest,
        })
    }

    /// Whether texts of this response are replaced; with `is_decoded`, its coding is undone first.
    pub fn takes_on(&self, head: &ResponseHeader, is_decoded: bool) -> bool {
        let media = media_type(&head.headers).to_ascii_lowercase();
        let is_plain = is_decoded || !head.headers.contains_key(http::header::CONTENT_ENCODING);
        is_plain && self.types.iter().any(|kind| kind == "*" || *kind == media)
    }

    pub fn replacing(&self) -> Replacing {
        Replacing {
            finder: self.finder.clone(),
            left: self.replacements.iter().cloned().map(Some).collect(),
            once: self.once,
            longest: self.longest,
            held: Vec::new(),
        }
    }
}

/// One body under way.
pub struct Replacing {
    finder: AhoCorasick,
    /// What comes in the place of each text, unless that has been done and is done once.
    left: Vec<Option<Vec<u8>>>,
    once: bool,
    longest: usize,
    /// What may be the beginning of something that is looked for.
    held: Vec<u8>,
}

impl Replacing {
    fn replace(&mut self, ends: bool) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        // What begins before this cannot be cut off by the end of the part.
        let safe = if ends { held.len() } else { (held.len() + 1).saturating_sub(self.longest) };
        let (mut out, mut at) = (Vec::with_capacity(held.len()), 0);
        while at < held.len() {
            let found = self.finder.find(&held[at..]);
            let found = found.filter(|found| at + found.start() < safe);
            let Some(found) = found else { break };
            let (start, end) = (at + found.start(), at + found.end());
            out.extend_from_slice(&held[at..start]);
            let slot = &mut self.left[found.pattern().as_usize()];
            match slot {
                Some(with) => out.extend_from_slice(with),
                None => out.extend_from_slice(&held[start..end]),
            }
            if self.once {
                *slot = None;
            }
            at = end;
        }
        let sent = safe.max(at);
        out.extend_from_slice(&held[at..sent]);
        self.held = held[sent..].to_vec();
        out
    }
}

impl Change for Replacing {
    fn part(&mut self, part: &[u8]) -> io::Result<Vec<u8>> {
        self.held.extend_from_slice(part);
        Ok(self.replace(false))
    }

    fn end(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.replace(true))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replaced(pairs: &[(&str, &str)], once: bool, parts: &[&[u8]]) -> String {
        let rules = Substitutions { once, ..Substitutions::default() };
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let mut replacing = Substitute::of(&rules, &pairs).unwrap().replacing();
        let mut out = Vec::new();
        for part in parts {
            out.extend(replacing.part(part).unwrap());
        }
        out.extend(replacing.end().unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_are_found_whatever_their_case_and_once_means_each_once() {
        let pairs = [("aab", "X"), ("b", "-"), ("", "never")];
        assert_eq!(replaced(&pairs, false, &[b"aAAb b"]), "aX -");
        assert_eq!(replaced(&pairs, true, &[b"AAB b aab b"]), "X - aab b");
    }

    proptest! {
        #[test]
        fn where_parts_are_cut_changes_nothing(text in "[abc]{0,40}", cuts in proptest::collection::vec(0_usize..40, 0..5)) {
            let pairs = [("ab", "1"), ("abc", "2"), ("cab", "3"), ("bb", "")];
            let whole = replaced(&pairs, false, &[text.as_bytes()]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut parts = Vec::new();
            let mut at = 0;
            for cut in cuts {
                parts.push(&text.as_bytes()[at..cut]);
                at = cut;
            }
            parts.push(&text.as_bytes()[at..]);
            prop_assert_eq!(replaced(&pairs, false, &parts), whole);
        }
    }
}
