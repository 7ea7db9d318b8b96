//! A peer as its file in `peers/` describes it.
//!
//! ```text
//! # Comments, until the first file.
//! name: nginx
//! version: nginx -v
//! run: nginx -p @FOLDER@ -c nginx.conf
//! reload: HUP
//! cannot: W5 W11
//! --- nginx.conf
//! ... its text ...
//! --- nginx.conf W4
//! ... its text when W4 is measured ...
//! ```
//!
//! `@FOLDER@`, `@PORT@`, `@ORIGIN@` (address and port) and `@ORIGIN_PORT@` are replaced in commands and files.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};

#[derive(Clone, Debug)]
pub struct Peer {
    pub name: String,
    /// The command that prints its version.
    pub version: Vec<String>,
    pub run: Vec<String>,
    pub reload: Option<Reload>,
    /// Workloads it has no mechanism for.
    pub cannot: Vec<String>,
    files: Vec<File>,
}

/// How it takes over a changed configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    Signal(String),
    Command(Vec<String>),
}

#[derive(Clone, Debug)]
struct File {
    name: String,
    /// The workload it is for; none for all others.
    only: Option<String>,
    text: String,
}

/// What stands for what in a peer's commands and files.
pub type Places = BTreeMap<&'static str, String>;

/// Replaces `@NAME@`.
pub fn fill_in(text: &str, places: &Places) -> String {
    places.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

impl Peer {
    pub fn parse(text: &str) -> Result<Peer> {
        let (head, files) = match text.find("\n--- ") {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text, ""),
        };
        let mut keys = BTreeMap::new();
        for line in head.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (key, value) = line.split_once(':').with_context(|| format!("no key: `{line}`"))?;
            ensure!(keys.insert(key, value.trim()).is_none(), "`{key}` is there twice");
        }
        let words = |value: &str| value.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let mut take = |key: &'static str| keys.remove(key).map(words);
        let (name, version) = (take("name"), take("version"));
        let (run, reload, cannot) = (take("run"), take("reload"), take("cannot"));
        if let Some(key) = keys.keys().next() {
            bail!("unknown key `{key}`");
        }
        Ok(Peer {
            name: name.context("no `name`")?.join(" "),
            version: version.context("no `version`")?,
            run: run.filter(|run| !run.is_empty()).context("no `run`")?,
            reload: reload.map(|words| match words.as_slice() {
                [signal] => Reload::Signal(signal.clone()),
                _ => Reload::Command(words),
            }),
            cannot: cannot.unwrap_or_default(),
            files: files.split("\n--- ").filter(|text| !text.is_empty()).map(file).collect(),
        })
    }

    /// Names and texts of its files when this workload is measured.
    pub fn files(&self, workload: &str, places: &Places) -> BTreeMap<String, String> {
        let fits = |file: &&File| file.only.as_deref().is_none_or(|only| only == workload);
        let mut files: Vec<&File> = self.files.iter().filter(fits).collect();
        // The special ones last: they replace the others.
        files.sort_by_key(|file| file.only.is_some());
        let filled = |file: &File| (fill_in(&file.name, places), fill_in(&file.text, places));
        files.into_iter().map(filled).collect()
    }
}

fn file(text: &str) -> File {
    let text = text.strip_prefix("--- ").unwrap_or(text);
    let (head, text) = text.split_once('\n').unwrap_or((text, ""));
    let mut words = head.split_whitespace().map(str::to_owned);
    let name = words.next().unwrap_or_default();
    File { name, only: words.next(), text: format!("{text}\n") }
}

/// The peers of this repository, in the order of the table.
pub fn shipped() -> Result<Vec<Peer>> {
    [
        ("forebay", include_str!("../peers/forebay.peer")),
        ("nginx", include_str!("../peers/nginx.peer")),
        ("nginx-tuned", include_str!("../peers/nginx-tuned.peer")),
        ("haproxy", include_str!("../peers/haproxy.peer")),
        ("varnish", include_str!("../peers/varnish.peer")),
        ("ats", include_str!("../peers/ats.peer")),
        ("caddy", include_str!("../peers/caddy.peer")),
    ]
    .into_iter()
    .map(|(name, text)| Peer::parse(text).with_context(|| format!("peers/{name}.peer")))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "# A peer\nname: some proxy\nversion: some -v\nrun: some -c @FOLDER@/c\n\
                          reload: HUP\ncannot: W5 W9\n--- c\nport @PORT@\n--- c W4\ntuned\n--- d\nx";

    #[test]
    fn a_file_is_a_peer_and_workloads_may_have_files_of_their_own() {
        let peer = Peer::parse(SAMPLE).unwrap();
        assert_eq!((peer.name.as_str(), peer.cannot.len()), ("some proxy", 2));
        assert_eq!(peer.reload, Some(Reload::Signal("HUP".to_owned())));
        let places = Places::from([("@PORT@", "80".to_owned())]);
        let text = |workload: &str| peer.files(workload, &places)["c"].clone();
        assert_eq!((text("W1").as_str(), text("W4").as_str()), ("port 80\n", "tuned\n"));
        assert_eq!(peer.files("W4", &places)["d"], "x\n");
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (bad, why) in [
            ("name: x\nversion: x", "no `run`"),
            ("nonsense", "no key"),
            ("name: x\nname: y", "twice"),
            ("name: x\nversion: x\nrun: x\nspeed: high", "unknown key `speed`"),
        ] {
            let said = format!("{:#}", Peer::parse(bad).unwrap_err());
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn what_is_shipped_can_be_read_and_leaves_no_place_open() {
        let names = ["@FOLDER@", "@PORT@", "@ORIGIN@", "@ORIGIN_PORT@"];
        let places: Places = names.map(|name| (name, "1".to_owned())).into();
        for peer in shipped().unwrap() {
            for (name, text) in peer.files("W4", &places) {
                assert!(!text.contains('@'), "{} {name}: {text}", peer.name);
            }
        }
    }
}
