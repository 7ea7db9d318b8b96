//! Regular expressions: from those of PCRE, which nginx uses, to those of Rust, which take linear
//! time and have no look-around. The usual `(?!...)` is written out instead.

use proxy_config::pattern::Regex;

/// The expression, or why it cannot be translated.
pub fn convert(pattern: &str, ignore_case: bool) -> Result<Regex, String> {
    let plain = match pattern.find("(?!") {
        Some(at) => without_lookahead(pattern, at)?,
        None => pattern.to_owned(),
    };
    let plain = if ignore_case { format!("(?i){plain}") } else { plain };
    plain.parse().map_err(|error: proxy_config::units::UnitError| {
        let reason = error.message.rsplit(": ").next().unwrap_or_default().to_owned();
        format!("{pattern:?} cannot be translated: {reason}")
    })
}

/// For `server_name`: Forebay compares the whole name, nginx looks for a match in it.
pub fn of_whole_host(pattern: &str) -> Result<Regex, String> {
    let start = if pattern.starts_with('^') { "" } else { ".*?" };
    let ends = pattern.ends_with('$') && !pattern.ends_with("\\$");
    convert(&format!("{start}{pattern}{}", if ends { "" } else { ".*" }), true)
}

/// Writes `(?!a|b)` out as "nothing, or what does not begin so". Right when all that follows in the
/// expression is "anything".
fn without_lookahead(pattern: &str, at: usize) -> Result<String, String> {
    let cannot = |why: &str| format!("{pattern:?} cannot be translated: {why}");
    let (before, rest) = (&pattern[..at], &pattern[at + 3..]);
    let end = closing(rest).ok_or_else(|| cannot("a `(?!` has no end"))?;
    let (inner, after) = (&rest[..end], &rest[end + 1..]);
    if after.contains("(?!") || before.contains("(?<!") || before.contains("(?=") {
        return Err(cannot("it looks around more than once"));
    }
    if after == "$" {
        return Ok(format!("{before}$"));
    }
    let words = literals(inner).ok_or_else(|| cannot("what it must not find is no plain text"))?;
    let words: Vec<&[char]> = words.iter().map(Vec::as_slice).collect();
    // What may follow, with something or perhaps nothing, captured or not.
    let (open, close, empty) = match after.trim_end_matches('$') {
        "" | ".*" => ("(?:", ")", true),
        "(.*)" => ("(", ")", true),
        ".+" => ("(?:", ")", false),
        "(.+)" => ("(", ")", false),
        _ if after == "." => ("(?:", ")", false),
        _ => return Err(cannot("what follows `(?!...)` must be `.*` or `(.*)`")),
    };
    Ok(format!("{before}{open}{}{close}", other_than(&words, empty)))
}

/// `^/a(?!b)c` as `^/ac` and, apart from it, what must not be found there: `^/a(?:b)`. Right as what stands before is plain
/// text at the beginning, so that there is one place to look at.
pub fn apart(pattern: &str) -> Option<(String, String)> {
    let (before, rest) = pattern.split_once("(?!")?;
    let end = closing(rest)?;
    let (inner, after) = (&rest[..end], &rest[end + 1..]);
    literal(before.strip_prefix('^')?)?;
    let looks = |text: &str| ["(?!", "(?=", "(?<!", "(?<="].iter().any(|look| text.contains(look));
    let is_apart = !looks(inner) && !looks(after);
    is_apart.then(|| (format!("{before}{after}"), format!("{before}(?:{inner})")))
}

/// The same where nobody asks what was captured, for a `(?!...)` of single characters and classes with nothing but "anything"
/// after it: what it does not find is written out.
pub fn convert_test(pattern: &str, ignore_case: bool) -> Result<Regex, String> {
    convert(pattern, ignore_case).or_else(|why| {
        let written = pattern.split_once("(?!").and_then(|(before, rest)| {
            let end = closing(rest)?;
            let (inner, after) = (&rest[..end], &rest[end + 1..]);
            let others = before.contains("(?=") || before.contains("(?<") || after.contains("(?");
            let atoms = atoms(inner).filter(|_| !others && leads_to_anything(after))?;
            Some(format!("{before}{}{after}", not_followed(&atoms)))
        });
        written.map_or(Err(why), |written| convert(&written, ignore_case))
    })
}

/// The parts of an expression of which each is one character, and the same turned around.
fn atoms(text: &str) -> Option<Vec<(String, String)>> {
    let mut atoms = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = match c {
            '\\' => 1 + rest[1..].chars().next()?.len_utf8(),
            '[' => rest.get(2..)?.find(']').filter(|_| !rest.contains("\\]"))? + 3,
            c if "](){}*+?^$|.".contains(c) => return None,
            c => c.len_utf8(),
        };
        let (atom, after) = rest.split_at(end);
        let not = match (c, atom.strip_prefix("[^")) {
            (_, Some(class)) => format!("[{class}"),
            ('[', None) => format!("[^{}", &atom[1..]),
            ('\\', _) if ["\\d", "\\w", "\\s"].contains(&atom) => atom.to_ascii_uppercase(),
            ('\\', _) if atom[1..].starts_with(|c: char| c.is_ascii_alphanumeric()) => return None,
            ('\\', _) => format!("[^{atom}]"),
            (c, _) => format!("[^{}]", escaped_in_class(c)),
        };
        atoms.push((atom.to_owned(), not));
        rest = after;
    }
    (!atoms.is_empty()).then_some(atoms)
}

fn not_followed(atoms: &[(String, String)]) -> String {
    let Some(((first, not), rest)) = atoms.split_first() else { return String::new() };
    match rest {
        [] => format!("(?:$|{not})"),
        rest => format!("(?:$|{not}|{first}{})", not_followed(rest)),
    }
}

/// Whether groups end here, with whatever else they may be, and then anything may follow.
fn leads_to_anything(after: &str) -> bool {
    let mut rest = after;
    loop {
        match rest.chars().next() {
            Some(')') => rest = &rest[1..],
            Some('|') => match closing(rest) {
                Some(end) => rest = &rest[end..],
                None => return true,
            },
            _ => return ["", ".*", ".*$"].contains(&rest),
        }
    }
}

/// The place of the `)` that ends a group.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' => depth += 1,
            ')' if depth == 0 => return Some(at),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The alternatives of a group when all are plain text: `well-known|\.git`, perhaps in one more pair
/// of parentheses.
fn literals(group: &str) -> Option<Vec<Vec<char>>> {
    let inner = group.strip_prefix("?:").unwrap_or(group);
    let whole = inner.strip_prefix('(').filter(|rest| closing(rest) == Some(rest.len() - 1));
    if let Some(rest) = whole {
        return literals(&rest[..rest.len() - 1]);
    }
    inner.split('|').map(literal).collect()
}

fn literal(text: &str) -> Option<Vec<char>> {
    let mut chars = text.chars();
    let mut word = Vec::new();
    while let Some(c) = chars.next() {
        match c {
            '\\' => word.push(chars.next().filter(|c| !c.is_ascii_alphanumeric())?),
            c if ".[](){}*+?^$|".contains(c) => return None,
            c => word.push(c),
        }
    }
    (!word.is_empty()).then_some(word)
}

/// An expression for every text up to its end that begins with none of the words.
fn other_than(words: &[&[char]], may_be_empty: bool) -> String {
    let mut firsts: Vec<char> = words.iter().filter_map(|word| word.first().copied()).collect();
    firsts.sort_unstable();
    firsts.dedup();
    let class: String = firsts.iter().map(|c| escaped_in_class(*c)).collect();
    let mut choices = Vec::new();
    if may_be_empty {
        choices.push("$".to_owned());
    }
    choices.push(format!("[^{class}].*$"));
    for first in firsts {
        let tails: Vec<&[char]> = words
            .iter()
            .filter(|word| word.first() == Some(&first))
            .map(|word| &word[1..])
            .collect();
        if tails.iter().all(|tail| !tail.is_empty()) {
            let first = regex_escaped(first);
            choices.push(format!("{first}(?:{})", other_than(&tails, true)));
        }
    }
    choices.join("|")
}

fn escaped_in_class(c: char) -> String {
    if "]\\^-[&~".contains(c) { format!("\\{c}") } else { c.to_string() }
}

fn regex_escaped(c: char) -> String {
    if c.is_alphanumeric() || "/_-".contains(c) { c.to_string() } else { format!("\\{c}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_follow_is_written_out() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            (
                r"/\.(?!well-known).*",
                &["/.git", "/.", "/a/.env", "/.well", "/.well-knowx", "/.w/x"],
                &["/.well-known/acme", "/a", "/.well-known"],
            ),
            (r"^/(?!api|admin/)(.*)$", &["/", "/apx", "/admin", "/x/api"], &["/api", "/admin/x"]),
            (r"^/(?!(?:a|b)).+", &["/c", "/cc"], &["/", "/a", "/b/c"]),
            (r"^/(?!a)$", &["/"], &["/b", "/a", "/bc"]),
            (
                r"^/setup/(?!pub/).",
                &["/setup/x", "/setup/pub", "/setup/p"],
                &["/setup/", "/setup/pub/x"],
            ),
        ];
        for (pattern, taken, passed) in cases {
            let regex = convert(pattern, false).unwrap().compile().unwrap();
            for path in *taken {
                assert!(regex.is_match(path), "{pattern} {path} {regex}");
            }
            for path in *passed {
                assert!(!regex.is_match(path), "{pattern} {path} {regex}");
            }
        }
        for pattern in ["(?!a)b", "(?<=a)b", "(?!a(?!b))", "(?!a.b).*", "a(", r"(a)\1"] {
            assert!(convert(pattern, false).is_err(), "{pattern}");
        }
    }

    #[test]
    fn what_is_only_judged_may_look_ahead_further() {
        let agent = "^(docker\\/1\\.(3|4|5(?!\\.[0-9]-dev))|Go ).*$";
        assert!(convert(agent, false).is_err());
        let agent = convert_test(agent, false).unwrap().compile().unwrap();
        for taken in [
            "docker/1.3.2",
            "docker/1.5",
            "docker/1.5.0",
            "docker/1.5.",
            "docker/1.5.1-de",
            "Go 1.1",
        ] {
            assert!(agent.is_match(taken), "{taken} {agent}");
        }
        for passed in ["docker/1.5.1-dev", "docker/1.5.1-dev x", "docker/1.6.0", "Gox"] {
            assert!(!agent.is_match(passed), "{passed} {agent}");
        }
        for pattern in ["a(?!b+)", "a(?!b)c", "(a(?!bc))*", "a(?!.c)"] {
            assert!(convert_test(pattern, false).is_err(), "{pattern}");
        }
    }

    #[test]
    fn what_must_not_follow_is_looked_for_apart() {
        let found = apart(r"^/(?!index|ocs\/v[12]|.+\/x(_y)?\/z)");
        let expected = ("^/".to_owned(), r"^/(?:index|ocs\/v[12]|.+\/x(_y)?\/z)".to_owned());
        assert_eq!(found, Some(expected));
        for pattern in ["/(?!a)", "^/.*(?!a)", "^/(?!a(?!b))", "^/(?!a)(?=b)", "^/a"] {
            assert_eq!(apart(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn hosts_are_matched_whole() {
        for (pattern, host, expected) in [
            (r"^(?<user>.+)\.a\.example$", "x.a.example", true),
            (r"^www\d+\.", "www1.example", true),
            ("a.example", "xa.example.org", true),
            ("^a$", "b", false),
        ] {
            let regex = of_whole_host(pattern).unwrap();
            let whole = regex::Regex::new(&format!("^(?:{regex})$")).unwrap();
            assert_eq!(whole.is_match(host), expected, "{pattern} {host}");
        }
    }
}
