//! A configuration moved onto loopback: listeners to free ports, upstreams to the recording one,
//! files into a temporary folder, TLS taken off.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;

use crate::directive::Context;
use crate::include::Includes;
use crate::parse::parse_bytes;
use crate::replay::log_lines;
use crate::replay::outside::{self, Outside};
use crate::replay::requests::Request;
use crate::translate::listen;
use crate::translate::value::{slug, time};
use crate::tree::{Body, Directive, Document, Word, flattened, walk};

/// Directives of the process and of files outside, which must not act here.
const DROPPED: [&str; 21] = [
    "user",
    "pid",
    "lock_file",
    "error_log",
    "open_log_file_cache",
    "daemon",
    "master_process",
    "worker_processes",
    "worker_cpu_affinity",
    "worker_rlimit_nofile",
    "worker_priority",
    "working_directory",
    "load_module",
    "client_body_temp_path",
    "proxy_temp_path",
    "fastcgi_temp_path",
    "uwsgi_temp_path",
    "scgi_temp_path",
    "resolver",
    "ssl",
    "http2",
];

/// What tells clients and upstreams something.
const TELLING: [&str; 8] = [
    "add_header",
    "add_trailer",
    "fastcgi_param",
    "grpc_set_header",
    "proxy_set_body",
    "proxy_set_header",
    "return",
    "set",
];

/// Upstreams are asked in cleartext.
const TLS_TO_UPSTREAMS: [&str; 3] = ["proxy_ssl_", "grpc_ssl_", "uwsgi_ssl_"];

/// When all files were written, as [`crate::replay::requests::WRITTEN`] has it.
const WRITTEN: Duration = Duration::from_secs(1_767_225_600);
/// How long answers stay fresh at least.
const LASTING_MS: u64 = 3_600_000;

/// An address of the configuration, and what is spoken at one of its ports on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Door {
    pub listen: SocketAddr,
    pub http2: bool,
}

/// Where each door is instead.
pub type Ports = BTreeMap<Door, SocketAddr>;

pub struct Stage<'a> {
    pub folder: &'a Path,
    /// Whose logs its lines go to.
    pub side: &'static str,
    pub ports: &'a Ports,
    pub outside: Outside<'a>,
}

/// Every address a server listens on, as far as it can be read.
pub fn addresses(document: &Document) -> Vec<SocketAddr> {
    let mut found = BTreeSet::new();
    walk(&document.directives, &mut |directive| {
        if directive.name == "server" && matches!(directive.body, Body::Block(_)) {
            let listens = listens(directive);
            let of = |line: &&Directive| listen::parse(line).ok()?.address.socket();
            found.extend(listens.iter().filter_map(of));
            if listens.is_empty() {
                found.insert(listen::ASSUMED);
            }
        }
    });
    found.into_iter().collect()
}

/// The addresses where HTTP/2 is spoken: where one server of an address speaks it, all do.
pub fn speaking_http2(document: &Document) -> BTreeSet<SocketAddr> {
    let mut found = BTreeSet::new();
    walk(&document.directives, &mut |directive| {
        if directive.name != "server" || !matches!(directive.body, Body::Block(_)) {
            return;
        }
        let lines = flattened(directive.children());
        let is_on = lines.iter().any(|line| line.name == "http2" && line.has("on"));
        let of = lines.iter().filter(|line| line.name == "listen");
        let of = of.filter_map(|line| listen::parse(line).ok());
        let of = of.filter(|listen| listen.http2 || is_on);
        found.extend(of.filter_map(|listen| listen.address.socket()));
    });
    found
}

/// Whether rows of data stand in a block of this name, and no directives.
fn is_table(name: &str) -> bool {
    Context::Http.inside(name) == Context::Rows
}

fn listens(server: &Directive) -> Vec<&Directive> {
    flattened(server.children()).into_iter().filter(|line| line.name == "listen").collect()
}

impl Stage<'_> {
    /// What nginx is given: the moved configuration with a frame that keeps it in the folder.
    pub fn nginx(&self, document: &Document) -> anyhow::Result<Vec<Directive>> {
        let folder = self.folder.display();
        let mut text = format!(
            "daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;"
        );
        // Its workers would be nobody's, who may not read the folder.
        if is_root() {
            text.push_str("user root;");
        }
        let frame = parse(&text)?;
        let mut files = format!("client_body_temp_path {folder}/body;");
        for kind in ["proxy", "fastcgi", "uwsgi", "scgi"] {
            files.push_str(&format!("{kind}_temp_path {folder}/{kind};"));
        }
        let files = parse(&files)?;
        let mut moved = self.moved(&document.directives, "")?;
        for directive in &mut moved {
            if let (true, Body::Block(inner)) = (directive.name == "http", &mut directive.body) {
                inner.splice(0..0, files.iter().cloned());
            }
        }
        if !moved.iter().any(|directive| directive.name == "events") {
            moved.extend(parse("events {}")?);
        }
        moved.splice(0..0, frame);
        Ok(moved)
    }

    /// What is translated: the same, read back so that its places are those of one text.
    pub fn document(&self, document: &Document) -> anyhow::Result<Document> {
        let text = crate::print::print(&self.moved(&document.directives, "")?);
        Ok(parse_bytes("nginx.conf", text.as_bytes(), Includes::Unfollowed).document)
    }

    fn moved(&self, block: &[Directive], around: &str) -> anyhow::Result<Vec<Directive>> {
        let mut moved = Vec::new();
        for directive in flattened(block) {
            let mut new = directive.clone();
            if !self.keep(&mut new, around) {
                continue;
            }
            let name = directive.name.as_str();
            if let Body::Block(inner) = &directive.body {
                let mut inner = match name {
                    _ if is_table(name) => flattened(inner).into_iter().cloned().collect(),
                    "upstream" => self.upstream(directive),
                    _ => self.moved(inner, name)?,
                };
                if name == "http" {
                    let is_logged = inner.iter().any(|line| line.name == "access_log");
                    let frame = log_lines::frame(self.folder, self.side, is_logged);
                    let frame = frame + &outside::frame(self.outside.echo, &inner);
                    inner.splice(0..0, parse(&frame)?);
                }
                if name == "server" && listens(directive).is_empty() {
                    let port = self.ports[&Door { listen: listen::ASSUMED, http2: false }];
                    inner.splice(0..0, parse(&format!("listen {port};"))?);
                }
                new.body = Body::Block(inner);
            }
            let by_http2 = self.by_http2(directive, &new);
            moved.push(new);
            moved.extend(by_http2);
        }
        Ok(moved)
    }

    /// Without TLS nginx speaks one protocol at a port: that of HTTP/2 is another.
    fn by_http2(&self, line: &Directive, moved: &Directive) -> Option<Directive> {
        let is_listen = line.name == "listen";
        let listen = is_listen.then(|| listen::parse(line).ok()?.address.socket()).flatten()?;
        let port = self.ports.get(&Door { listen, http2: true })?;
        let mut line = moved.clone();
        let first = line.arguments.first_mut()?;
        first.text = port.to_string();
        let word = Word { text: "http2".to_owned(), ..first.clone() };
        line.arguments.push(word);
        Some(line)
    }

    /// Moves what a directive itself says; `false` when it has no place here.
    fn keep(&self, directive: &mut Directive, around: &str) -> bool {
        let name = directive.name.as_str();
        let dropped = DROPPED.contains(&name)
            || name.starts_with("ssl_")
            || TLS_TO_UPSTREAMS.iter().any(|start| name.starts_with(start))
            || outside::is_left_out(name)
            || name.starts_with("quic_")
            || matches!((around, name), ("", "stream" | "mail"));
        match name {
            _ if dropped => return false,
            "listen" => return self.listen(directive),
            "access_log" => self.log(directive),
            "log_format" => format(directive),
            "proxy_cache_path" | "fastcgi_cache_path" | "uwsgi_cache_path" | "scgi_cache_path" => {
                self.cache_path(directive);
            }
            "proxy_cache_valid" | "fastcgi_cache_valid" => lasting(directive),
            "root" | "alias" => {
                if let Some(word) = directive.arguments.first_mut() {
                    word.text = moved_path(self.folder, &word.text);
                }
            }
            _ if TELLING.contains(&name) => {
                let words = directive.arguments.iter_mut();
                words.for_each(|word| word.text = log_lines::lasting(&word.text));
            }
            _ => self.outside.lead(directive),
        }
        true
    }

    /// `false` when the address cannot be read: nobody asks there.
    fn listen(&self, line: &mut Directive) -> bool {
        let address = listen::parse(line).ok().and_then(|listen| listen.address.socket());
        let Some(address) = address else { return false };
        let Some(port) = self.ports.get(&Door { listen: address, http2: false }) else {
            return false;
        };
        line.arguments[0].text = port.to_string();
        line.arguments.retain(|word| {
            let name = word.text.split('=').next().unwrap_or_default();
            !["ssl", "http2", "ipv6only", "backlog", "fastopen", "reuseport", "setfib"]
                .contains(&name)
        });
        true
    }

    /// All servers of a pool answer from one place: which of them is whose turn is not compared.
    fn upstream(&self, block: &Directive) -> Vec<Directive> {
        let pool = block.argument(0).unwrap_or_default();
        let lines = flattened(block.children()).into_iter().cloned();
        let is_kept = |line: &Directive| {
            !DROPPED.contains(&line.name.as_str()) && !outside::is_left_out(&line.name)
        };
        lines
            .filter(is_kept)
            .map(|mut line| {
                if let ("server", Some(word)) = (line.name.as_str(), line.arguments.first_mut()) {
                    word.text = self.outside.echo.address(pool).to_string();
                }
                line
            })
            .collect()
    }

    /// Writes at once, to a file of this side, in a format that is steady.
    fn log(&self, line: &mut Directive) {
        let Some(place) = line.arguments.first().cloned().filter(|word| word.text != "off") else {
            return;
        };
        let path = log_lines::file(self.folder, self.side, &slug(&place.text));
        let others = line.arguments.drain(1..).collect::<Vec<_>>();
        line.arguments[0].text = path.display().to_string();
        let format = others.iter().find(|word| !word.text.contains('=') && word.text != "gzip");
        let own = format.map(|word| word.text.as_str()).filter(|name| *name != "combined");
        let text = own.unwrap_or(log_lines::FORMAT).to_owned();
        line.arguments.push(Word { text, place: place.place });
        line.arguments.extend(others.into_iter().filter(|word| word.text.starts_with("if=")));
    }

    fn cache_path(&self, line: &mut Directive) {
        let zone =
            line.texts().find_map(|word| word.strip_prefix("keys_zone=")).unwrap_or_default();
        let zone = zone.split(':').next().unwrap_or_default();
        let path = self.folder.join("cache").join(slug(zone));
        if let Some(word) = line.arguments.first_mut() {
            word.text = path.display().to_string();
        }
    }
}

/// What is fresh for less than a replay lasts would be fresh on one side and stale on the other.
fn lasting(line: &mut Directive) {
    let Some(word) = line.arguments.last_mut() else { return };
    if time(&word.text).is_some_and(|time| !time.is_zero() && time.as_millis() < LASTING_MS) {
        word.text = "1h".to_owned();
    }
}

/// With the number of the request before it, and nothing in it that is never the same twice.
fn format(line: &mut Directive) {
    let mut words = line.arguments.iter_mut().skip(1).filter(|w| !w.text.starts_with("escape="));
    if let Some(first) = words.next() {
        first.text = format!("$http_x_replay {}", log_lines::steady(&first.text));
    }
    words.for_each(|word| word.text = log_lines::steady(&word.text));
}

/// Where the files of a path are instead.
fn moved_path(folder: &Path, path: &str) -> String {
    format!("{}/files/{}", folder.display(), path.trim_start_matches('/'))
}

/// Puts files where `root` and `alias` lead: an index, and what requests name that looks like one.
pub fn furnish(folder: &Path, document: &Document, requests: &[Request]) {
    let mut places = BTreeSet::new();
    walk(&document.directives, &mut |line| {
        let text = line.argument(0).unwrap_or_default();
        let fixed = text.find('$').map_or(text, |at| &text[..at]);
        if line.name == "root" {
            places.insert(moved_path(folder, fixed));
        } else if line.name == "alias" {
            let end = fixed.rfind('/').map_or(0, |at| at + 1);
            places.insert(moved_path(folder, &fixed[..end]));
            if !fixed.ends_with('/') && fixed.len() == text.len() {
                let parts = fixed.rsplit_once('/');
                places.insert(moved_path(folder, parts.map_or("", |(above, _)| above)));
            }
        }
    });
    let mut names: BTreeSet<String> =
        requests.iter().filter_map(|request| file_name(&request.target)).collect();
    walk(&document.directives, &mut |line| {
        if let ("alias", Some((_, name))) =
            (line.name.as_str(), line.argument(0).unwrap_or_default().rsplit_once('/'))
        {
            names.extend(file_name(&format!("/{name}")));
        }
    });
    names.insert("/index.html".to_owned());
    names.insert("/index.php".to_owned());
    for place in places {
        for name in &names {
            let file = format!("{}{name}", place.trim_end_matches('/'));
            // A name that is a folder of others, or the other way round, stays what it is.
            if let Some(parent) = Path::new(&file).parent() {
                let _ = std::fs::create_dir_all(parent);
            }
            let _ = std::fs::write(&file, format!("{name}\n"));
            if let Ok(file) = std::fs::File::options().write(true).open(&file) {
                let _ = file.set_modified(UNIX_EPOCH + WRITTEN);
            }
        }
    }
}

/// The file a target names, when it looks like one and half of those that do.
fn file_name(target: &str) -> Option<String> {
    let path = target.split('?').next()?;
    let last = path.rsplit('/').next()?;
    let is_plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    let is_file = last.contains('.') && !path.contains("/.") && !path.contains("//");
    let drawn = path.bytes().fold(0_u8, u8::wrapping_add).is_multiple_of(2);
    (is_plain && is_file && (drawn || path.len() < 16)).then(|| path.to_owned())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn parse(text: &str) -> anyhow::Result<Vec<Directive>> {
    let parsed = parse_bytes("frame", text.as_bytes(), Includes::Unfollowed);
    let fault = parsed.problems.first().map(|problem| problem.message.clone());
    fault
        .map_or(Ok(parsed.document.directives), |fault| Err(anyhow::Error::msg(fault)))
        .context("a path with characters that nginx cannot read")
}

/// The names of all `upstream` blocks: `proxy_pass` may mean them instead of a host.
pub fn pools(document: &Document) -> Vec<String> {
    let mut pools = Vec::new();
    walk(&document.directives, &mut |directive| {
        if directive.name == "upstream" {
            pools.extend(directive.arguments.first().map(|Word { text, .. }| text.clone()));
        }
    });
    pools
}
