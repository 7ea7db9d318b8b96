//! "Did you mean": the name a person probably meant.

/// The candidate closest to what was written, when it is close enough to be meant.
pub fn closest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let wanted = plain(written);
    let distance_max = (wanted.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| {
            *distance <= distance_max && *distance < candidate.chars().count()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A hint for a name that is not there: the closest one, and all there are.
pub fn hint(written: &str, candidates: &[&str], what: &str) -> String {
    let all = list(candidates);
    match closest(written, candidates.iter().copied()) {
        Some(closest) if candidates.len() == 1 => format!("did you mean `{closest}`?"),
        Some(closest) => format!("did you mean `{closest}`? {what}: {all}"),
        None if candidates.is_empty() => format!("there are no {what}"),
        None => format!("{what}: {all}"),
    }
}

/// `a`, `b`, `c`
pub fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_probably_meant() {
        let keys = ["upstream", "listeners", "buffer_policy", "http2", "lane"];
        let cases = [
            ("upstrem", Some("upstream")),
            ("Listeners", Some("listeners")),
            ("listener", Some("listeners")),
            ("buffer-policy", Some("buffer_policy")),
            ("http", Some("http2")),
            ("lnae", Some("lane")),
            ("colour", None),
            ("x", None),
            ("", None),
        ];
        for (written, expected) in cases {
            assert_eq!(closest(written, keys), expected, "{written}");
        }
    }
}
