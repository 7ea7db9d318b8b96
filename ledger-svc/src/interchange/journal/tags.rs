//! Tags of ledger-cli and hledger: `; name: value`, which is a transfer's metadata. The two do not agree on what is one.

use super::super::fault::Found;
use super::super::own::OWN;
use crate::interchange::lines::{Line, Named};
use crate::metadata::Metadata;

/// A name and its value, if a comment is a tag. What is no tag to either program is a comment, which belongs to no books.
pub fn tag(text: &str) -> Result<Option<(&str, &str)>, String> {
    let text = text.trim_start().trim_start_matches(';').trim();
    if let Some(date) = date_in_brackets(text).filter(|_| !text.starts_with(OWN)) {
        return Err(format!(
            "[{date}] is a date of its own to ledger-cli and hledger, and all entries of a transfer have one; write them on that day, or take it out"
        ));
    }
    if text.len() > 2
        && text.starts_with(':')
        && text.ends_with(':')
        && !text.contains(char::is_whitespace)
    {
        return Err(format!(
            "a transfer has no tags without a value; make {text} such as ; project: 7"
        ));
    }
    let Some((name, value)) = text.split_once(':') else { return Ok(None) };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Ok(None);
    }
    if value.starts_with(':') {
        return Err(format!("the value of {name} is computed (::); write what it comes to"));
    }
    let is_apart = value.is_empty() || value.starts_with([' ', '\t']);
    // To hledger it is one without a space behind the colon too.
    let is_glued = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        && !value.starts_with("//");
    if !is_apart && !is_glued {
        return Ok(None);
    }
    if !name.starts_with(OWN)
        && let Some(other) = second(value)
    {
        return Err(format!(
            "{other} is a tag of its own to hledger and a part of {name} to ledger-cli; write each on a line of its own"
        ));
    }
    Ok(Some((name, value.trim())))
}

/// What both programs take for the day, or the day after an `=`, of the entry beside the comment.
fn date_in_brackets(text: &str) -> Option<&str> {
    let inside = text.split('[').skip(1).filter_map(|behind| behind.split_once(']'));
    inside.map(|(inside, _)| inside).find(|inside| {
        let is_of_dates = |byte: u8| byte.is_ascii_digit() || b"-/.=".contains(&byte);
        let parts = inside.split(['-', '/', '.', '=']).filter(|part| !part.is_empty()).count();
        parts > 1 && inside.bytes().all(is_of_dates)
    })
}

/// What hledger takes for the next tag behind a comma.
fn second(value: &str) -> Option<&str> {
    let parts = value.split(',').skip(1).filter_map(|part| part.split_once(':'));
    parts
        .map(|(before, _)| before.trim_start())
        .find(|name| !name.is_empty() && !name.contains(char::is_whitespace))
}

pub fn add_tag(named: &mut Named, line: Line<'_>, found: &mut Found) {
    match tag(line.text) {
        Ok(Some((name, value))) => named.add(line.number, name, value.to_owned(), found),
        Ok(None) => {}
        Err(why) => found.at(line.number, why),
    }
}

/// Takes up what was written as one text, because its parts would not be read as they are.
pub fn take_whole(named: &mut Named, line: usize, found: &mut Found) {
    let Some(json) = named.take("metadata") else { return };
    let read = serde_json::from_str::<Metadata>(&json)
        .map_err(|error| format!("{OWN}metadata is no JSON object of strings: {error}"));
    for (name, value) in found.or_note(line, read).unwrap_or_default().0 {
        named.add_metadata(line, name, value, found);
    }
}

pub fn write_tags(text: &mut String, metadata: &Metadata) {
    let mut whole = Metadata::default();
    for (name, value) in &metadata.0 {
        // One that begins as an export's own do would be read as one.
        let is_plain =
            !name.starts_with(OWN) && second(value).is_none() && date_in_brackets(value).is_none();
        if is_plain {
            text.push_str(&format!("    ; {name}: {value}\n"));
        } else {
            whole.0.insert(name.clone(), value.clone());
        }
    }
    if !whole.is_empty() {
        text.push_str(&format!("    ; {OWN}metadata: {}\n", in_a_comment(&whole)));
    }
}

/// JSON of texts, in which the other programs find no date: a bracket is written by its number.
pub fn in_a_comment(texts: &impl serde::Serialize) -> String {
    crate::json::written(texts).replace('[', "\\u005b")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_what_is_one_to_either_program() {
        for (text, expected) in [
            ("; project: 7", Ok(Some(("project", "7")))),
            ("; project:7", Ok(Some(("project", "7")))),
            ("; Project:a b", Ok(Some(("Project", "a b")))),
            ("; project:", Ok(Some(("project", "")))),
            ("; a: 1, then 2", Ok(Some(("a", "1, then 2")))),
            ("; a: 1, see the note: 2", Ok(Some(("a", "1, see the note: 2")))),
            ("; bought in a hurry", Ok(None)),
            ("; bought: not at all", Ok(Some(("bought", "not at all")))),
            ("; https://example.org/", Ok(None)),
            ("; 12:30 at the grocer's", Ok(None)),
            ("; [mine] and [12]", Ok(None)),
            ("; forebay-key: [2026-03-01]", Ok(Some(("forebay-key", "[2026-03-01]")))),
            ("; [2026-03-01]", Err(())),
            ("; see [1], [2026-03-01]", Err(())),
            ("; cleared [=2026/3/1]", Err(())),
            ("; memo: [2026-03-01=2026-03-04]", Err(())),
            ("; :a:b:", Err(())),
            ("; a: 1, b: 2", Err(())),
            ("; a:1,b:2", Err(())),
            ("; a:: 1 + 1", Err(())),
        ] {
            assert_eq!(tag(text).map_err(|_| ()), expected, "{text}");
        }
    }
}
