//! `-v` and `-V`. Which of nginx's modules are there is not written down: each is asked for by a
//! sample of what it does, and is there when the translation keeps the sample.

use forebay_nginx::include::Includes;
use forebay_nginx::parse::parse_bytes;
use forebay_nginx::report::Report;
use forebay_nginx::translate::translate;

use super::options::{CONFIGURATION, ERROR_LOG, PID, PREFIX};

/// The nginx whose configuration and behaviour are kept to: that of Debian 12.
const COMPATIBLE: &str = "1.22.1";

pub fn version() -> String {
    format!("nginx version: nginx/{COMPATIBLE} (Forebay {})\n", env!("CARGO_PKG_VERSION"))
}

/// What nginx says it was built with.
pub fn build() -> String {
    let paths = [
        format!("--prefix={PREFIX}"),
        format!("--conf-path={CONFIGURATION}"),
        format!("--error-log-path={ERROR_LOG}"),
        format!("--pid-path={PID}"),
        // `error_log ... debug` tells of every request what was decided.
        "--with-debug".to_owned(),
    ];
    let modules = MODULES.iter().filter_map(|module| match (module.usual, module.is_there()) {
        (true, false) => Some(format!("--without-{}", module.option)),
        (false, true) => Some(format!("--with-{}", module.option)),
        _ => None,
    });
    let all: Vec<String> = paths.into_iter().chain(modules).collect();
    format!("built with rustls\nTLS SNI support enabled\nconfigure arguments: {}\n", all.join(" "))
}

struct Module {
    /// As `configure` has it: `http_ssl_module`.
    option: &'static str,
    /// nginx has it unless it is built without it.
    usual: bool,
    /// In which block the sample stands.
    place: Place,
    sample: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Main,
    Http,
    Upstream,
    Server,
    Location,
}

const fn usual(option: &'static str, place: Place, sample: &'static str) -> Module {
    Module { option, usual: true, place, sample }
}

const fn extra(option: &'static str, place: Place, sample: &'static str) -> Module {
    Module { option, usual: false, place, sample }
}

use Place::{Http, Location, Main, Server, Upstream};

const MODULES: &[Module] = &[
    extra(
        "http_ssl_module",
        Server,
        "listen 443 ssl; ssl_certificate a.pem; ssl_certificate_key a.key;",
    ),
    extra("http_v2_module", Server, "listen 8080 http2;"),
    extra(
        "http_realip_module",
        Server,
        "set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For;",
    ),
    extra("http_addition_module", Location, "add_after_body /after;"),
    extra("http_xslt_module", Location, "xslt_stylesheet a.xslt;"),
    extra("http_image_filter_module", Location, "image_filter size;"),
    extra("http_geoip_module", Http, "geoip_country a.dat;"),
    extra("http_sub_module", Location, "sub_filter a b;"),
    extra("http_dav_module", Location, "dav_methods PUT;"),
    extra("http_flv_module", Server, "root /a; location /f/ { flv; }"),
    extra("http_mp4_module", Server, "root /a; location /f/ { mp4; }"),
    extra("http_gunzip_module", Location, "gunzip on;"),
    extra("http_gzip_static_module", Server, "root /a; location /g/ { gzip_static on; }"),
    extra(
        "http_auth_request_module",
        Server,
        "location /auth { proxy_pass http://b; } location /a/ { auth_request /auth; proxy_pass http://b; }",
    ),
    extra("http_random_index_module", Location, "random_index on;"),
    extra(
        "http_secure_link_module",
        Location,
        "secure_link $arg_s,$arg_e; secure_link_md5 \"$secure_link_expires$uri x\";",
    ),
    extra("http_slice_module", Http, "proxy_cache_path c keys_zone=k:1m; proxy_cache k; slice 1m;"),
    extra("http_stub_status_module", Server, "location /figures { stub_status; }"),
    extra("http_perl_module", Location, "perl a::b;"),
    extra("mail", Main, "mail { server { listen 25; protocol smtp; } }"),
    extra("stream", Main, "stream { server { listen 53; proxy_pass 127.0.0.1:9; } }"),
    usual("http_charset_module", Location, "charset utf-8;"),
    usual("http_gzip_module", Location, "gzip on;"),
    usual("http_ssi_module", Location, "ssi on;"),
    usual("http_userid_module", Location, "userid on;"),
    usual("http_access_module", Location, "allow 10.0.0.0/8; deny all;"),
    usual("http_auth_basic_module", Location, "auth_basic a; auth_basic_user_file users;"),
    usual(
        "http_mirror_module",
        Server,
        "location /copy { internal; proxy_pass http://b; } location /m/ { mirror /copy; proxy_pass http://b; }",
    ),
    usual("http_autoindex_module", Location, "autoindex on;"),
    usual("http_geo_module", Http, "geo $g { default 0; 10.0.0.0/8 1; }"),
    usual("http_map_module", Http, "map $host $m { default 0; a.example 1; }"),
    usual("http_split_clients_module", Http, "split_clients $remote_addr $s { 50% a; * b; }"),
    usual(
        "http_referer_module",
        Location,
        "valid_referers none; if ($invalid_referer) { return 403; }",
    ),
    usual("http_rewrite_module", Location, "rewrite ^/a/(.*)$ /b/$1 break;"),
    usual("http_proxy_module", Location, ""),
    usual("http_fastcgi_module", Server, "location /f/ { fastcgi_pass 127.0.0.1:9; }"),
    usual("http_uwsgi_module", Server, "location /u/ { uwsgi_pass 127.0.0.1:9; }"),
    usual("http_scgi_module", Server, "location /s/ { scgi_pass 127.0.0.1:9; }"),
    usual("http_grpc_module", Server, "location /g/ { grpc_pass 127.0.0.1:9; }"),
    usual("http_memcached_module", Server, "location /m/ { memcached_pass 127.0.0.1:9; }"),
    usual(
        "http_limit_conn_module",
        Http,
        "limit_conn_zone $binary_remote_addr zone=c:1m; limit_conn c 1;",
    ),
    usual(
        "http_limit_req_module",
        Http,
        "limit_req_zone $binary_remote_addr zone=r:1m rate=1r/s; limit_req zone=r;",
    ),
    usual("http_empty_gif_module", Server, "location /e { empty_gif; }"),
    usual("http_browser_module", Location, "if ($ancient_browser) { return 403; }"),
    usual("http_upstream_hash_module", Upstream, "hash $request_uri consistent;"),
    usual("http_upstream_ip_hash_module", Upstream, "ip_hash;"),
    usual("http_upstream_least_conn_module", Upstream, "least_conn;"),
    usual("http_upstream_random_module", Upstream, "random;"),
    usual("http_upstream_keepalive_module", Upstream, "keepalive 8;"),
    usual("http_upstream_zone_module", Upstream, "zone z 64k;"),
    usual("http-cache", Http, "proxy_cache_path c keys_zone=k:1m; proxy_cache k;"),
];

impl Module {
    /// Whether all of its sample is translated.
    fn is_there(&self) -> bool {
        let at = |place| if self.place == place { self.sample } else { "" };
        let listen = if self.sample.contains("listen") { "" } else { "listen 80;" };
        let text = format!(
            "events {{}} {} http {{ {} upstream b {{ {} server 127.0.0.1:9; }} server {{ {listen} {} \
             location / {{ proxy_pass http://b; {} }} }} }}",
            at(Main),
            at(Http),
            at(Upstream),
            at(Server),
            at(Location),
        );
        let parsed = parse_bytes("sample", text.as_bytes(), Includes::Unfollowed);
        let translation = translate(&parsed.document);
        let report = Report::new(&parsed.document, &translation);
        report.unsupported().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use forebay_nginx::check::check;

    use super::*;

    fn line(option: &str) -> bool {
        build().split_whitespace().any(|word| word == option)
    }

    #[test]
    fn what_is_there_is_claimed_and_what_is_not_is_denied() {
        assert!(version().starts_with("nginx version: nginx/1."));
        assert!(line("--with-http_ssl_module"));
        assert!(line("--with-http_v2_module"));
        assert!(line("--with-http_stub_status_module") && line("--with-http_slice_module"));
        assert!(!line("--without-http_proxy_module"));
        assert!(!line("--without-http-cache"));
        assert!(!line("--with-mail"));
        assert!(line("--without-http_uwsgi_module"));
    }

    #[test]
    fn samples_are_what_nginx_would_take() {
        for module in MODULES {
            let (open, close) = match module.place {
                Main => ("", ""),
                Http => ("http {", "}"),
                Upstream => ("http { upstream b { server a;", "} }"),
                Server => ("http { server {", "} }"),
                Location => ("http { server { location / {", "} } }"),
            };
            let text = format!("{open} {} {close}", module.sample);
            let parsed = parse_bytes("sample", text.as_bytes(), Includes::Unfollowed);
            assert!(parsed.problems.is_empty(), "{}", module.option);
            let problems = check(&parsed.document);
            assert!(problems.is_empty(), "{}: {problems:?}", module.option);
        }
    }
}
