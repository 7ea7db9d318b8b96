//! The files an instance holds, rendered from `templates/instance/` by Tera.
//!
//! An expression in a template is one whole value: what it prints is quoted for the kind of file,
//! chosen by the ending, so that no value can end its place and begin another.

use std::io::Write;

use serde::Serialize;
use tera::{Context, EscapeFn, Tera};

use super::{EstatePlan, LEDGER_ADMIN_PORT, LEDGER_PORT, PROXY_ADMIN_PORT, document};
use crate::environment::CACHE_URL;
use crate::environment::aws::Engine;

/// A file of an instance, written before anything is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceFile {
    pub path: &'static str,
    pub mode: &'static str,
    pub text: String,
}

/// Name and text of a template, and how its values are quoted.
struct Source {
    name: &'static str,
    text: &'static str,
    escape: EscapeFn,
}

macro_rules! source {
    ($name:literal, $escape:path) => {
        Source {
            name: $name,
            text: include_str!(concat!("../../../templates/instance/", $name)),
            escape: $escape,
        }
    };
}

const FETCH: Source = source!("fetch.sh", shell);
const BOOT: Source = source!("boot.sh", shell);
const PROXY_UNIT: Source = source!("forebay-proxy.service", plain);
const LEDGER_UNIT: Source = source!("forebay-ledger.service", plain);
const LEDGER_DATABASE: Source = source!("ledger-database.sh", shell);
const PROXY_CACHE: Source = source!("proxy-cache.sh", shell);
const PROXY_CERTIFICATE: Source = source!("proxy-certificate.sh", shell);
const PROXY_REFRESH: Source = source!("proxy-refresh.sh", shell);
const REFRESH_UNIT: Source = source!("forebay-refresh.service", plain);
const REFRESH_TIMER: Source = source!("forebay-refresh.timer", plain);
const MACHINE: Source = source!("machine.sh", shell);
const AGENT: Source = source!("cloudwatch-agent.json", json);
const ROTATE: Source = source!("logrotate.conf", plain);

/// Every template that a team may replace by its own.
const SOURCES: [Source; 13] = [
    FETCH,
    BOOT,
    PROXY_UNIT,
    LEDGER_UNIT,
    LEDGER_DATABASE,
    PROXY_CACHE,
    PROXY_CERTIFICATE,
    PROXY_REFRESH,
    REFRESH_UNIT,
    REFRESH_TIMER,
    MACHINE,
    AGENT,
    ROTATE,
];

/// The names of the templates that a team may replace by its own.
pub fn template_names() -> [&'static str; 13] {
    SOURCES.map(|source| source.name)
}

/// What the templates may name.
#[derive(Serialize)]
struct Values {
    /// `proxy` or `ledger`.
    part: &'static str,
    binary: &'static str,
    launch_template: &'static str,
    group: &'static str,
    region: String,
    releases: String,
    log_group: String,
    namespace: String,
    ready_url: String,
    listen: String,
    admin_listen: String,
    scheme: &'static str,
    tls: &'static str,
    /// The proxy document, as the proxy is given it.
    document: &'static str,
    cache: bool,
    cache_url: &'static str,
    /// Whether the proxy reads a certificate that is kept as a secret, and which.
    certificate: bool,
    certificate_secret: String,
    certificate_file: &'static str,
    certificate_key_file: &'static str,
    /// Whether what the proxy read at its start may be another later.
    refresh: bool,
    /// Whether the authorities of the database come with the release: there is no way to where they are
    /// published.
    authorities: bool,
}

/// What differs between the two fleets.
struct Part {
    part: &'static str,
    binary: &'static str,
    launch_template: &'static str,
    group: &'static str,
    ready_port: u16,
}

const EDGE: Part = Part {
    part: "edge",
    binary: "forebay-proxy",
    launch_template: "EdgeLaunchTemplate",
    group: "EdgeFleet",
    ready_port: PROXY_ADMIN_PORT,
};

const LEDGER: Part = Part {
    part: "ledger",
    binary: "forebay-ledger",
    launch_template: "LedgerLaunchTemplate",
    group: "LedgerFleet",
    ready_port: LEDGER_ADMIN_PORT,
};

fn values(plan: &EstatePlan, of: &Part) -> Values {
    let engine = plan.database().map_or(Engine::Mysql, |database| database.engine);
    let (scheme, tls) = if engine.is_mysql() {
        ("mysql", "ssl-mode=verify_identity&ssl-ca")
    } else {
        ("postgres", "sslmode=verify-full&sslrootcert")
    };
    let certificate = plan.estate.edge.certificate.clone();
    Values {
        part: of.part,
        binary: of.binary,
        launch_template: of.launch_template,
        group: of.group,
        region: plan.aws().region.clone(),
        releases: plan.aws().releases.clone(),
        log_group: log_group(plan, of.part),
        namespace: namespace(plan),
        ready_url: format!("http://127.0.0.1:{}/readyz", of.ready_port),
        listen: format!("0.0.0.0:{LEDGER_PORT}"),
        admin_listen: format!("0.0.0.0:{LEDGER_ADMIN_PORT}"),
        scheme,
        tls,
        document: if plan.edge_uses_cache { "/run/forebay-proxy/proxy.yaml" } else { DOCUMENT },
        cache: plan.edge_uses_cache,
        cache_url: CACHE_URL,
        certificate: certificate.is_some(),
        certificate_secret: certificate.unwrap_or_default(),
        certificate_file: document::CERTIFICATE,
        certificate_key_file: document::CERTIFICATE_KEY,
        refresh: refreshes(plan) && of.part == EDGE.part,
        authorities: plan.is_isolated() && of.part == LEDGER.part,
    }
}

/// Whether the proxy reads what changes by itself: a password or a certificate.
fn refreshes(plan: &EstatePlan) -> bool {
    plan.edge_uses_cache || plan.estate.edge.certificate.is_some()
}

/// The log group of a part: `/forebay/production/edge`.
pub fn log_group(plan: &EstatePlan, part: &str) -> String {
    format!("/forebay/{}/{part}", plan.name)
}

/// Where metrics of the instances and their logs are.
pub fn namespace(plan: &EstatePlan) -> String {
    format!("Forebay/{}", plan.name)
}

/// Where the proxy document is written.
const DOCUMENT: &str = "/etc/forebay/proxy.yaml";

/// What the edge's instances hold.
pub fn edge(plan: &EstatePlan, document: String) -> Result<Vec<InstanceFile>, RenderError> {
    let values = values(plan, &EDGE);
    let mut files = vec![file(DOCUMENT, "000644", document)];
    if plan.edge_uses_cache {
        let script = render(plan, &PROXY_CACHE, &values)?;
        files.push(file("/usr/local/sbin/proxy-cache", "000755", script));
    }
    if values.certificate {
        let script = render(plan, &PROXY_CERTIFICATE, &values)?;
        files.push(file("/usr/local/sbin/proxy-certificate", "000755", script));
    }
    if values.refresh {
        for (path, mode, source) in [
            ("/usr/local/sbin/proxy-refresh", "000755", PROXY_REFRESH),
            ("/etc/systemd/system/forebay-refresh.service", "000644", REFRESH_UNIT),
            ("/etc/systemd/system/forebay-refresh.timer", "000644", REFRESH_TIMER),
        ] {
            files.push(file(path, mode, render(plan, &source, &values)?));
        }
    }
    for (path, mode, source) in [
        ("/usr/local/sbin/forebay-fetch", "000755", FETCH),
        ("/etc/systemd/system/forebay-proxy.service", "000644", PROXY_UNIT),
        ("/etc/forebay/cloudwatch-agent.json", "000644", AGENT),
        ("/etc/logrotate.d/forebay", "000644", ROTATE),
    ] {
        files.push(file(path, mode, render(plan, &source, &values)?));
    }
    Ok(files)
}

/// What the ledger's instances hold; nothing without a ledger.
pub fn ledger(plan: &EstatePlan) -> Result<Vec<InstanceFile>, RenderError> {
    if plan.estate.ledger.is_none() {
        return Ok(Vec::new());
    }
    let values = values(plan, &LEDGER);
    let mut files = Vec::new();
    for (path, mode, source) in [
        ("/usr/local/sbin/forebay-fetch", "000755", FETCH),
        ("/usr/local/sbin/ledger-database", "000755", LEDGER_DATABASE),
        ("/etc/systemd/system/forebay-ledger.service", "000644", LEDGER_UNIT),
        ("/etc/forebay/cloudwatch-agent.json", "000644", AGENT),
        ("/etc/logrotate.d/forebay", "000644", ROTATE),
    ] {
        files.push(file(path, mode, render(plan, &source, &values)?));
    }
    Ok(files)
}

/// User data of a fleet: it reads the files above from the stack, starts, and tells the stack.
/// `${AWS::StackName}` in it is filled in by CloudFormation.
pub fn user_data(plan: &EstatePlan, of_ledger: bool) -> Result<String, RenderError> {
    render(plan, &BOOT, &values(plan, if of_ledger { &LEDGER } else { &EDGE }))
}

/// User data of machines that tasks run on; nothing without them. `${Cluster}` in it is filled in by
/// CloudFormation.
pub fn machine_boot(plan: &EstatePlan) -> Result<String, RenderError> {
    if plan.estate.capacity.is_empty() {
        return Ok(String::new());
    }
    render(plan, &MACHINE, &values(plan, &EDGE))
}

fn file(path: &'static str, mode: &'static str, text: String) -> InstanceFile {
    InstanceFile { path, mode, text }
}

/// A template that Tera cannot render: a fault of ours or of a team's own, or a value it cannot hold.
#[derive(Debug, thiserror::Error)]
#[error("{name} cannot be rendered: {cause}")]
pub struct RenderError {
    name: String,
    cause: tera::Error,
}

/// Renders a template, a team's own where there is one; its values are quoted all the same.
fn render(
    plan: &EstatePlan,
    source: &Source,
    values: &impl Serialize,
) -> Result<String, RenderError> {
    match plan.estate.templates.get(source.name) {
        Some(own) => rendered(&own.path.display().to_string(), &own.text, source.escape, values),
        None => {
            let name = format!("templates/instance/{}", source.name);
            rendered(&name, source.text, source.escape, values)
        }
    }
}

fn rendered(
    name: &str,
    text: &str,
    escape: EscapeFn,
    values: &impl Serialize,
) -> Result<String, RenderError> {
    let mut tera = Tera::default();
    tera.set_escape_fn(escape);
    tera.autoescape_on([""]);
    tera.add_raw_template(name, text)
        .and_then(|()| tera.render(name, &Context::from_serialize(values)?))
        .map_err(|cause| RenderError { name: name.to_owned(), cause })
}

/// A word of a shell script. `${` is taken apart, for CloudFormation would fill it in.
fn shell(text: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let quoted = text.replace('\'', r"'\''").replace("${", "$''{");
    write!(out, "'{quoted}'")
}

/// A JSON string.
fn json(text: &str, out: &mut dyn Write) -> std::io::Result<()> {
    out.write_all(serde_json::Value::from(text).to_string().as_bytes())
}

/// For units and logrotate, where `%` begins a specifier. What would end a word there, or begin a
/// variable, is refused: the two kinds of file, and places in a unit, read quoting differently.
fn plain(text: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,~".contains(c);
    if let Some(other) = text.chars().find(|c| !harmless(*c)) {
        let message = format!("`{}` is nothing a unit can hold", other.escape_debug());
        return Err(std::io::Error::other(message));
    }
    out.write_all(text.replace('%', "%%").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(escape: EscapeFn, text: &str) -> String {
        let mut out = Vec::new();
        escape(text, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_value_can_leave_its_place() {
        assert_eq!(escaped(shell, "a'; rm -rf /; '"), r"'a'\''; rm -rf /; '\'''");
        assert_eq!(escaped(shell, "${AWS::X}"), "'$''{AWS::X}'");
        assert_eq!(escaped(json, "a\", \"b\n"), r#""a\", \"b\n""#);
        assert_eq!(escaped(plain, "/run/a-b_c.d:1%n"), "/run/a-b_c.d:1%%n");
        for text in ["x\nExecStart=/bin/sh", "a b", "a\"b", "a'b", "a\\b", "$HOME", "`id`", "a;b"] {
            assert!(plain(text, &mut Vec::new()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_rendered_is_an_error() {
        let told = rendered("fetch.sh", FETCH.text, FETCH.escape, &[("nothing", "it")]);
        let told = told.unwrap_err().to_string();
        assert!(told.starts_with("fetch.sh cannot be rendered"), "{told}");
    }

    /// Everything that ends or begins something in a shell, in JSON or for CloudFormation.
    const HOSTILE: &str = "a'b \"c\" $HOME ${AWS::Region} `id` $(id) \\ \n%n}} end";

    /// Every place of every file, filled with what would do harm: where the value is put in quotes of its
    /// kind the file is what it is with any other value, and nothing of it is left.
    #[test]
    fn a_value_that_would_do_harm_stays_a_value_in_every_file() {
        let all = |text: &str| {
            let texts = [
                "binary",
                "launch_template",
                "group",
                "region",
                "releases",
                "log_group",
                "namespace",
                "ready_url",
                "listen",
                "admin_listen",
                "scheme",
                "tls",
                "document",
                "cache_url",
                "certificate_secret",
                "certificate_file",
                "certificate_key_file",
            ];
            let texts = texts.map(|name| (name, serde_json::Value::from(text)));
            let flags = ["cache", "certificate", "refresh", "authorities"];
            let flags = flags.map(|name| (name, serde_json::Value::from(true)));
            texts.into_iter().chain(flags).collect::<std::collections::BTreeMap<_, _>>()
        };
        for source in SOURCES {
            let Source { name, text, escape } = source;
            let harmless = rendered(name, text, escape, &all("harmless")).unwrap();
            let hostile = rendered(name, text, escape, &all(HOSTILE));
            if !text.contains("{{") {
                assert_eq!(hostile.unwrap(), harmless, "{name}");
                continue;
            }
            if !name.ends_with(".sh") && !name.ends_with(".json") {
                assert!(hostile.is_err(), "{name} holds what a unit cannot");
                continue;
            }
            let hostile = hostile.unwrap();
            let (theirs, ours) = (escaped(escape, HOSTILE), escaped(escape, "harmless"));
            assert_eq!(hostile.replace(&theirs, &ours), harmless, "{name}");
            assert!(!hostile.contains("${AWS::Region}") || name.ends_with(".json"), "{name}");
            if name.ends_with(".sh") {
                let shell = std::process::Command::new("sh").args(["-n", "-c", &hostile]).output();
                let shell = shell.unwrap();
                assert!(
                    shell.status.success(),
                    "{name}: {}",
                    String::from_utf8_lossy(&shell.stderr)
                );
            } else {
                let agent: serde_json::Value = serde_json::from_str(&hostile).unwrap();
                assert_eq!(agent["metrics"]["namespace"], HOSTILE);
            }
        }
    }

    #[test]
    fn a_shell_reads_back_what_was_written() {
        let script = format!("printf %s {}", escaped(shell, HOSTILE));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), HOSTILE);
    }
}
