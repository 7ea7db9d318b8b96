//! `proxy_cache_key` and `fastcgi_cache_key`: which parts of a request make two requests the same.

use proxy_config::cache_policy::{CacheKey, QueryKey};

use crate::translate::cache_policy::Lines;
use crate::translate::proxy_pass::FASTCGI;
use crate::translate::slices;
use crate::translate::variable::{Names, Place};
use crate::verdict::{Verdict, Verdicts};

const HOST_COUNTS: &str = "answers are kept by scheme and host of the request, and once where several paths lead to \
                            one; nginx goes by what its key names";

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
        differences.push(HOST_COUNTS.to_owned());
        return Ok(CacheKey::default());
    };
    let text = slices::whole(lines.scope, line.argument(0).unwrap_or_default());
    let text = text.as_str();
    let Ok((key, names_host)) = parse(text) else {
        // What has no parts here is the whole key, as it is in nginx.
        let text = names.text(text, place, verdicts)?;
        verdicts.add(line, Verdict::exact());
        return Ok(CacheKey { text: Some(text), ..CacheKey::default() });
    };
    let mut own = Vec::new();
    if !names_host {
        own.push(HOST_COUNTS.to_owned());
    }
    if text.contains("$request_method") {
        own.push("HEAD is answered from what GET fetched".to_owned());
    }
    verdicts.add(line, Verdict::with_differences(&own));
    Ok(key)
}

/// The key, and whether it names scheme and host, which always count here.
fn parse(text: &str) -> Result<(CacheKey, bool), String> {
    let (mut path, mut query, mut scheme, mut host) = (false, false, false, false);
    let mut parameters = Vec::new();
    let mut key = CacheKey::default();
    for variable in variables(text)? {
        match variable {
            "scheme" => scheme = true,
            "host" | "http_host" => host = true,
            "proxy_host" | "proxy_port" | "server_name" | "server_port" | "request_method"
            | "is_args" => {}
            "request_uri" => (path, query) = (true, true),
            "uri" | "document_uri" => path = true,
            "args" | "query_string" => query = true,
            other => {
                if let Some(header) = other.strip_prefix("http_") {
                    key.headers.push(header.replace('_', "-"));
                } else if let Some(cookie) = other.strip_prefix("cookie_") {
                    key.cookies.push(cookie.to_owned());
                } else if let Some(parameter) = other.strip_prefix("arg_") {
                    parameters.push(parameter.to_owned());
                } else {
                    return Err(format!("${other} in its key is not known"));
                }
            }
        }
    }
    if !path {
        return Err("its key leaves the path out".to_owned());
    }
    key.query = match (query, parameters.is_empty()) {
        (true, _) => QueryKey::All,
        (false, true) => QueryKey::None,
        (false, false) => QueryKey::Only(parameters),
    };
    Ok((key, scheme && host))
}

/// The names of the variables in a text: `$name` and `${name}`.
fn variables(text: &str) -> Result<Vec<&str>, String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('$') {
        let (name, behind) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or("a `${` in its key has no end")?,
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len()))
            }
        };
        if name.is_empty() {
            return Err("a `$` in its key has no name".to_owned());
        }
        names.push(name);
        rest = behind;
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_people_write_them() {
        let all = CacheKey::default();
        let none = CacheKey { query: QueryKey::None, ..CacheKey::default() };
        assert_eq!(parse("$scheme$proxy_host$request_uri"), Ok((all.clone(), false)));
        assert_eq!(parse("$scheme$host$uri$is_args$args"), Ok((all, true)));
        assert_eq!(parse("${scheme}://${host}$uri"), Ok((none, true)));
        let (key, _) = parse("$uri$arg_v$http_accept_language$cookie_plan").unwrap();
        assert_eq!(key.query, QueryKey::Only(vec!["v".to_owned()]));
        assert_eq!(
            (key.headers, key.cookies),
            (vec!["accept-language".to_owned()], vec!["plan".to_owned()])
        );
        for wrong in ["$host", "static", "$uri$remote_user", "$uri$", "$uri${x", "$uri$slice_range"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
