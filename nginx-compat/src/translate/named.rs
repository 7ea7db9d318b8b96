//! `$arg_NAME` and `$cookie_NAME`: parameters and cookies, which nginx finds whatever their capitals (`ngx_http_arg` looks by
//! `ngx_strlcasestrn`, `ngx_http_parse_multi_header_lines` by `ngx_strncasecmp`). Forebay's own variables have them as they
//! are written, so each is a map of its own.

use std::collections::BTreeMap;

use proxy_config::map::{Map, MapCase};
use proxy_config::pattern::{Template, ValueMatch};

use crate::translate::lookup;
use crate::translate::regex::convert;

/// The first parameter with a value that is called so.
pub fn parameter(name: &str, maps: &mut BTreeMap<String, Map>) -> Result<String, String> {
    let name = name.to_ascii_lowercase();
    found(format!("arg_{name}"), &format!("(?:^|&){name}=([^&]*)"), "${query}", maps)
}

/// The first cookie that is called so, up to the next semicolon. Cookies of several fields are one text by then.
pub fn cookie(name: &str, maps: &mut BTreeMap<String, Map>) -> Result<String, String> {
    let name = name.to_ascii_lowercase();
    let find = format!("(?:^|[;,] *){name} *= *([^;]*)");
    // `cookie_` begins the variables that Forebay has itself.
    found(format!("cookies_{name}"), &find, "${header_cookie}", maps)
}

/// What an expression's group has of a text.
fn found(
    own: String,
    find: &str,
    of: &str,
    maps: &mut BTreeMap<String, Map>,
) -> Result<String, String> {
    let when = ValueMatch::Regex(convert(find, true)?);
    let case = MapCase { when, value: Template("${1}".to_owned()) };
    let map = lookup::plain(Template(of.to_owned()), vec![case]);
    let told = format!("${{{own}}}");
    maps.insert(own, map);
    Ok(told)
}
