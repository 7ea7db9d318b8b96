//! What of a configuration leads out of a replay: each address that a directive passes requests to becomes one of the
//! recording upstream. What cannot be led there is left out, and said.

use crate::directive::{Context, named};
use crate::replay::echo::Echo;
use crate::translate::variable::{Names, Place, bare, variables};
use crate::tree::{Directive, Document, flattened, walk};
use crate::verdict::Verdicts;

/// Features that may ask anybody, or write anywhere, by words or code of their own.
const STRANGE: [&str; 4] = ["lua", "perl", "plus", "third_party"];
/// Write answers to folders of this machine.
const STORES: [&str; 4] = ["proxy_store", "fastcgi_store", "uwsgi_store", "scgi_store"];
/// Variables that begin with the `/` of a path.
const PATHS: [&str; 3] = ["uri", "document_uri", "request_uri"];
/// A variable that is empty: what names it stays a text with variables.
const NOTHING: &str = "replay_nothing";
const DEPTH_MAX: u8 = 4;

/// Whether a directive has no place in a replay.
pub fn is_left_out(name: &str) -> bool {
    let strange = named(name).first().is_some_and(|spec| STRANGE.contains(&spec.group));
    strange || STORES.contains(&name)
}

/// Every such directive once, for those who read the account.
pub fn left_out(document: &Document) -> Vec<String> {
    let mut found = Vec::new();
    collect(&document.directives, Context::Main, &mut found);
    found.sort();
    found.dedup();
    found
}

fn collect(block: &[Directive], context: Context, found: &mut Vec<String>) {
    for line in flattened(block) {
        let inside = context.inside(&line.name);
        match is_left_out(&line.name) {
            true => found.push(line.name.clone()),
            false if matches!(inside, Context::Rows | Context::Opaque) => {}
            false => collect(line.children(), inside, found),
        }
    }
}

/// What leads where requests go, as this configuration knows it.
pub struct Outside<'a> {
    pub echo: &'a Echo,
    /// Names of `upstream` blocks, whose servers are the recording one's.
    pub pools: &'a [String],
    /// The configuration as it was written.
    pub directives: &'a [Directive],
}

impl Outside<'_> {
    fn is_pool(&self, text: &str) -> bool {
        self.pools.iter().any(|pool| pool.eq_ignore_ascii_case(text))
    }

    /// Moves what a directive passes requests to.
    pub fn lead(&self, line: &mut Directive) {
        let name = line.name.clone();
        let Some(word) = line.arguments.first_mut() else { return };
        let moved = match name.as_str() {
            "proxy_pass" => self.url(&word.text),
            "fastcgi_pass" => self.address(&word.text),
            // TLS is taken off here, too.
            "grpc_pass" => {
                let at = word.text.find("://").map_or(0, |at| at + "://".len());
                format!("grpc://{}", self.address(&word.text[at..]))
            }
            // Nobody here speaks these.
            "uwsgi_pass" | "scgi_pass" | "memcached_pass" => self.echo.nobody().to_string(),
            _ => return,
        };
        word.text = moved;
    }

    /// `host:port`, `unix:path` or the name of a pool.
    fn address(&self, text: &str) -> String {
        match text {
            _ if self.is_pool(text) || self.names_pools(text) => text.to_owned(),
            _ if text.contains('$') => format!("${}", variable(self.echo, text)),
            _ => self.echo.address(text.trim_start_matches("unix:")).to_string(),
        }
    }

    /// `http://host:port/uri`. TLS is taken off.
    fn url(&self, text: &str) -> String {
        let schemes = ["http://", "https://"];
        let start = |scheme: &&&str| {
            text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        let Some(scheme) = schemes.iter().find(start) else {
            return self.whole(text);
        };
        let rest = &text[scheme.len()..];
        if let Some(path) = rest.strip_prefix("unix:") {
            let (path, uri) = path.split_once(':').unwrap_or((path, ""));
            return self.at(path, uri);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let mut variables = rest[..end].match_indices('$');
        let end = variables.find(|(at, _)| is_path(&rest[*at..])).map_or(end, |(at, _)| at);
        let (authority, uri) = rest.split_at(end);
        match authority {
            _ if self.is_pool(authority) || self.names_pools(authority) => format!("http://{rest}"),
            _ => self.at(authority, uri),
        }
    }

    /// One server in an authority's place, and text with variables where it was.
    fn at(&self, authority: &str, uri: &str) -> String {
        if !authority.contains('$') {
            return format!("http://{}{uri}", self.echo.address(authority));
        }
        if self.is_closed(authority) {
            return format!("http://${}{uri}", variable(self.echo, authority));
        }
        format!("http://{}${{{NOTHING}}}{uri}", self.echo.address(authority))
    }

    /// A URL of which a variable says all.
    fn whole(&self, text: &str) -> String {
        match self.names_pools(text) {
            true => text.to_owned(),
            false => format!("${}", url_variable(self.echo, text)),
        }
    }

    /// Whether a text is one variable that a translation knows all values of.
    fn is_closed(&self, text: &str) -> bool {
        let mut names = Names::new(self.directives);
        let (place, mut verdicts) = (Place::default(), Verdicts::default());
        only_variable(text).is_some_and(|name| names.values(name, &place, &mut verdicts).is_ok())
    }

    /// Whether a text is one variable that can be nothing but the name of a pool.
    fn names_pools(&self, text: &str) -> bool {
        only_variable(text).is_some_and(|name| self.holds_pools(name, 0))
    }

    fn holds_pools(&self, name: &str, depth: u8) -> bool {
        let (mut values, mut is_open) = (Vec::new(), depth > DEPTH_MAX);
        walk(self.directives, &mut |line| {
            let sets = |index| line.argument(index).is_some_and(|text| bare(text) == name);
            let captures = |text: &str| text.contains(&format!("<{name}>"));
            match line.name.as_str() {
                "map" | "split_clients" if sets(1) => {
                    let rows = flattened(line.children()).into_iter();
                    values.extend(rows.filter_map(|row| row.argument(0)));
                }
                "set" if sets(0) => values.extend(line.argument(1)),
                _ => is_open |= sets(0) && line.name.ends_with("_set"),
            }
            is_open |= captures(&line.name) || line.texts().any(captures);
            let geo = line.name == "geo" && line.texts().last().map(bare) == Some(name);
            is_open |= geo;
        });
        let leads = |text: &&str| match only_variable(text) {
            Some(other) => self.holds_pools(other, depth + 1),
            None => text.is_empty() || self.is_pool(text),
        };
        !is_open && !values.is_empty() && values.iter().all(leads)
    }
}

/// What `http` needs for the variables that stand in for addresses.
pub fn frame(echo: &Echo, http: &[Directive]) -> String {
    let mut is_used = false;
    walk(http, &mut |line| is_used |= line.texts().any(|text| text.contains("replay_")));
    if !is_used {
        return String::new();
    }
    let mut text = format!("map '' ${NOTHING} {{ default ''; }}");
    for address in echo.addresses() {
        let port = address.port();
        text.push_str(&format!("map '' $replay_up_{port} {{ default {address}; }}"));
        text.push_str(&format!("map '' $replay_url_{port} {{ default http://{address}; }}"));
    }
    text
}

fn variable(echo: &Echo, text: &str) -> String {
    format!("replay_up_{}", echo.address(text).port())
}

fn url_variable(echo: &Echo, text: &str) -> String {
    format!("replay_url_{}", echo.address(text).port())
}

/// The variable that is all of a text.
fn only_variable(text: &str) -> Option<&str> {
    let [name] = variables(text)[..] else { return None };
    (text == format!("${name}") || text == format!("${{{name}}}")).then_some(name)
}

fn is_path(text: &str) -> bool {
    variables(text).first().is_some_and(|name| PATHS.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::include::Includes;
    use crate::parse::parse_bytes;
    use crate::replay::stage;

    const HTTP: &str = "upstream pool { server 10.0.0.1; } upstream b { server 10.0.0.2; } \
        map $cookie_v $either { default pool; x b; '' ''; } map $host $mixed { default pool; y 10.0.0.9; } \
        server { set $up 127.0.0.1; set $url http://10.0.0.1/x; set $again $either; \
        location ~ ^/(?<captured>.*) { set $captured pool; }";

    fn led(pass: &str) -> String {
        let text = format!("http {{ {HTTP} location /x {{ {pass}; }} }} }}");
        let parsed = parse_bytes("t", text.as_bytes(), Includes::Unfollowed);
        let (echo, pools) = (Echo::start().unwrap(), stage::pools(&parsed.document));
        let directives = &parsed.document.directives;
        let outside = Outside { echo: &echo, pools: &pools, directives };
        let mut led = String::new();
        walk(directives, &mut |line| {
            if line.name.ends_with("_pass") {
                let mut line = line.clone();
                outside.lead(&mut line);
                led = line.argument(0).unwrap_or_default().to_owned();
            }
        });
        let frame = frame(
            &echo,
            &parse_bytes("t", format!("x {led};").as_bytes(), Includes::Unfollowed)
                .document
                .directives,
        );
        for address in echo.addresses().into_iter().chain([echo.nobody()]) {
            let port = address.port();
            for name in [format!("$replay_up_{port}"), format!("$replay_url_{port}")] {
                if led.contains(&name) {
                    assert!(frame.contains(&format!("{name} {{")), "{led}: {frame}");
                    led = led.replace(&name, if name.contains("url") { "$URL" } else { "$UP" });
                }
            }
            led = led.replace(&address.to_string(), "HERE");
        }
        led
    }

    #[test]
    fn whoever_is_asked_is_the_recording_upstream() {
        for (pass, expected) in [
            ("proxy_pass http://127.0.0.1:23099", "http://HERE"),
            ("proxy_pass http://127.0.0.1:23099/a$uri", "http://HERE/a$uri"),
            ("proxy_pass http://127.0.0.1:23099$uri", "http://HERE$uri"),
            ("proxy_pass http://real.example$request_uri", "http://HERE$request_uri"),
            ("proxy_pass http://real.example${document_uri}", "http://HERE${document_uri}"),
            ("proxy_pass http://real", "http://HERE"),
            ("proxy_pass HTTPS://127.0.0.1:23098", "http://HERE"),
            ("proxy_pass https://pool/x", "http://pool/x"),
            ("proxy_pass http://POOL", "http://POOL"),
            ("proxy_pass http://unix:/run/a.sock:/x", "http://HERE/x"),
            ("proxy_pass http://unix:/run/a.sock", "http://HERE"),
            ("proxy_pass http://$up:23099", "http://HERE${replay_nothing}"),
            ("proxy_pass http://$up:23099/x", "http://HERE${replay_nothing}/x"),
            ("proxy_pass http://$http_host", "http://HERE${replay_nothing}"),
            ("proxy_pass http://real.example:80$arg_x", "http://HERE${replay_nothing}"),
            ("proxy_pass http://$up", "http://$UP"),
            ("proxy_pass http://$mixed/x", "http://$UP/x"),
            ("proxy_pass http://$either", "http://$either"),
            ("proxy_pass http://$again$uri", "http://$again$uri"),
            ("proxy_pass http://$captured", "http://$UP"),
            ("proxy_pass $url", "$URL"),
            ("proxy_pass $scheme://real.example", "$URL"),
            ("fastcgi_pass unix:/run/php.sock", "HERE"),
            ("fastcgi_pass real", "HERE"),
            ("fastcgi_pass $up:9000", "$UP"),
            ("fastcgi_pass pool", "pool"),
            ("grpc_pass grpcs://real.example:443", "grpc://HERE"),
            ("grpc_pass $http_x", "grpc://$UP"),
            ("uwsgi_pass real:1", "HERE"),
            ("scgi_pass $up:1", "HERE"),
            ("memcached_pass pool", "HERE"),
        ] {
            assert_eq!(led(pass), expected, "{pass}");
        }
    }

    #[test]
    fn what_cannot_be_led_here_is_left_out_and_said() {
        let text = "http { map $host $x { js_set 1; } server { content_by_lua_block { x } location / { \
            proxy_store /data/$uri; js_content a.b; otel_trace on; redis_pass r; proxy_pass http://a; } } }";
        let parsed = parse_bytes("t", text.as_bytes(), Includes::Unfollowed);
        let expected =
            ["content_by_lua_block", "js_content", "otel_trace", "proxy_store", "redis_pass"];
        assert_eq!(left_out(&parsed.document), expected);
    }
}
