//! `proxy_cache_key` and `fastcgi_cache_key`: which text makes two requests the same.

use proxy_config::cache_policy::CacheKey;

use crate::translate::cache_policy::Lines;
use crate::translate::proxy_pass::FASTCGI;
use crate::translate::slices;
use crate::translate::variable::{Names, Place};
use crate::verdict::{Verdict, Verdicts};

const HOST_COUNTS: &str =
    "answers are kept by scheme and host of the request, too, not only by what the server is asked";

/// The key in effect. The error says what of it is not understood: a part left out would give one
/// client another's answer.
pub fn read(
    lines: Lines<'_, '_>,
    (place, names): (&Place, &mut Names<'_>),
    verdicts: &mut Verdicts,
    differences: &mut Vec<String>,
) -> Result<CacheKey, String> {
    let Some(line) = lines.one("cache_key") else {
        if lines.family == FASTCGI {
            return Err("nginx refuses it: there is no fastcgi_cache_key".to_owned());
        }
        // nginx goes by the URL it asks the server for.
        let origin = place.proxy.as_ref().map(|(host, _)| format!("{}://{host}", place.asked_by()));
        if origin.is_none() {
            differences.push(HOST_COUNTS.to_owned());
        }
        return Ok(CacheKey { origin, ..CacheKey::default() });
    };
    let text = slices::whole(lines.scope, line.argument(0).unwrap_or_default());
    if !text.contains('$') {
        return Err("its key is the same for all requests".to_owned());
    }
    let text = names.text(&as_url(&text), place, verdicts)?;
    verdicts.add(line, Verdict::exact());
    Ok(CacheKey { text: Some(text), ..CacheKey::default() })
}

/// A key that begins with scheme and host as a URL: it tells the same requests apart, and a purge finds what is kept by its URL.
fn as_url(text: &str) -> String {
    const HOSTS: [&str; 3] = ["host", "http_host", "proxy_host"];
    let rest = ["$scheme", "${scheme}"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let is_host = |rest: &&str| {
        HOSTS.iter().any(|host| {
            let bare = rest.strip_prefix(&format!("${host}"));
            let ends =
                |after: &str| !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            bare.is_some_and(ends) || rest.starts_with(&format!("${{{host}}}"))
        })
    };
    match rest.filter(is_host) {
        Some(rest) => format!("${{scheme}}://{rest}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_can_be_urls_are() {
        for (text, expected) in [
            ("$scheme$proxy_host$request_uri", "${scheme}://$proxy_host$request_uri"),
            ("${scheme}${host}$uri", "${scheme}://${host}$uri"),
            ("$scheme$hostname$uri", "$scheme$hostname$uri"),
            ("$scheme$request_method$host$uri", "$scheme$request_method$host$uri"),
            ("$scheme://$host$uri", "$scheme://$host$uri"),
        ] {
            assert_eq!(as_url(text), expected, "{text}");
        }
    }
}
