//! Files of a directory: which file a path names. The kernel resolves it beneath the root
//! (`openat2` with `RESOLVE_BENEATH`), so neither dots nor links lead out, whatever changes meanwhile.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use proxy_config::file_rules::{ModifiedSince, Mp4};
use proxy_config::matching::normalize_path;
use proxy_config::route_action::{Gzipped, GzippedTo, Listing, MediaTypes};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::accept_encoding::takes;
use crate::listing::{self, Entry};

/// The codings of compressed neighbours and how their names end, the smallest first.
const NEIGHBOURS: [(&str, &str); 3] = [("br", ".br"), ("zstd", ".zst"), ("gzip", ".gz")];

/// A directory that is served.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
    /// What a request had a say in leads above where it was to end: there is nothing.
    is_astray: bool,
    strip_prefix: Option<String>,
    index: Vec<String>,
    pub precompressed: bool,
    types: Option<MediaTypes>,
    hidden: bool,
    pub index_anew: bool,
    /// Films begin at `?start=`.
    pub flv: bool,
    /// Films are cut to `?start=` and `?end=`.
    pub mp4: Option<Mp4>,
    pub etag: bool,
    pub if_modified_since: ModifiedSince,
    pub gzipped: Option<Gzipped>,
    pub listing: Option<Listing>,
    pub ranges_max: Option<u32>,
}

/// A file found, open.
#[derive(Debug)]
pub struct OpenFile {
    pub file: File,
    pub length: u64,
    pub modified: SystemTime,
    /// Changes whenever the content does; no quotes.
    pub version: String,
    /// Its name before a coding was chosen.
    pub name: String,
    pub coding: Option<&'static str>,
}

#[derive(Debug)]
pub enum Found {
    File(Box<OpenFile>),
    /// A directory, asked for without the slash at its end.
    Directory,
    Missing,
    Forbidden,
    /// A directory without an index whose entries are shown.
    Entries(Vec<Entry>),
}

impl Files {
    pub fn new(
        config: &proxy_config::route_action::Files,
        types: &BTreeMap<String, MediaTypes>,
    ) -> Files {
        Files {
            root: PathBuf::from(&config.root.0),
            is_astray: false,
            strip_prefix: config.strip_prefix.clone(),
            index: config.index.iter().map(|name| name.0.clone()).collect(),
            precompressed: config.precompressed,
            types: config.media_types.as_ref().and_then(|name| types.get(name)).cloned(),
            hidden: config.hidden,
            index_anew: config.index_anew,
            flv: config.flv,
            mp4: config.mp4.clone(),
            etag: config.etag,
            if_modified_since: config.if_modified_since,
            gzipped: config.gzipped.clone(),
            listing: config.listing.clone(),
            ranges_max: config.ranges_max,
        }
    }

    /// A directory whose files somebody else names: each is what it is.
    pub fn beneath(root: PathBuf) -> Files {
        Files {
            root,
            is_astray: false,
            strip_prefix: None,
            index: Vec::new(),
            precompressed: false,
            types: None,
            hidden: true,
            index_anew: false,
            flv: false,
            mp4: None,
            etag: true,
            if_modified_since: ModifiedSince::default(),
            gzipped: None,
            listing: None,
            ranges_max: None,
        }
    }

    /// The file of this name below the root, which is nothing escaped. Blocks on the disk.
    pub fn named(&self, name: &str) -> io::Result<Found> {
        self.open_one(name, name, None)
    }

    /// The same in the directory, and with the indexes, that one request has a say in.
    pub fn told(self: Arc<Files>, root: Option<String>, index: Option<Vec<String>>) -> Arc<Files> {
        if root.is_none() && index.is_none() {
            return self;
        }
        let own = self.root.clone();
        let root = root.map_or(own, PathBuf::from);
        Arc::new(Files {
            // The document's own steps upwards are its own business.
            is_astray: steps_up(&root) > steps_up(&self.root),
            root,
            index: index.unwrap_or_else(|| self.index.clone()),
            ..Files::clone(&self)
        })
    }

    /// The type of a file of this name.
    pub fn media_type(&self, name: &str) -> &str {
        let Some(types) = &self.types else { return media_type(name) };
        let file = name.rsplit('/').next().unwrap_or(name);
        let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
        types.by_ending.get(&ending).unwrap_or(&types.default)
    }

    /// The file a path names; `path` is escaped as in a request. Blocks on the disk.
    pub fn find(&self, path: &str, request: &HeaderMap) -> io::Result<Found> {
        let Some(name) = self.name(path) else { return Ok(Found::Missing) };
        if name.is_empty() && !path.ends_with('/') {
            return self.open_root();
        }
        if name.is_empty() || name.ends_with('/') {
            for index in self.index.iter().filter(|index| !index.starts_with('/')) {
                match self.open(&format!("{name}{index}"), request)? {
                    Found::Missing | Found::Directory => {}
                    found => return Ok(found),
                }
            }
            let place = if name.is_empty() { "." } else { &name };
            return Ok(match (self.open_one(place, "", None)?, &self.listing) {
                (Found::Directory, Some(_)) => Found::Entries(self.entries(place)?),
                (Found::Directory, None) => Found::Forbidden,
                _ => Found::Missing,
            });
        }
        self.open(&name, request)
    }

    /// The first index that a directory has; `path` ends in `/`.
    pub fn index_of(&self, path: &str, request: &HeaderMap) -> io::Result<Option<String>> {
        let Some(name) = self.name(path) else { return Ok(None) };
        for index in &self.index {
            if index.starts_with('/') {
                return Ok(Some(index.clone()));
            }
            if let Found::File(_) = self.open(&format!("{name}{index}"), request)? {
                return Ok(Some(index.clone()));
            }
        }
        Ok(None)
    }

    /// The root itself, where it is a file: it answers for the prefix that is taken off.
    fn open_root(&self) -> io::Result<Found> {
        let (Some(folder), Some(name)) = (self.root.parent(), self.root.file_name()) else {
            return Ok(Found::Directory);
        };
        let Some(name) = name.to_str() else { return Ok(Found::Missing) };
        let around = Files { root: folder.to_owned(), ..self.clone() };
        around.open_one(name, name, None)
    }

    /// The path below the root. Names that begin with a dot are nobody's business, but for
    /// `.well-known` (RFC 8615).
    fn name(&self, path: &str) -> Option<String> {
        if self.is_astray {
            return None;
        }
        let path = normalize_path(path);
        let path = std::str::from_utf8(&path).ok()?.replace("%25", "%");
        let prefix = self.strip_prefix.as_deref().unwrap_or("/");
        let name = path.strip_prefix(prefix)?.trim_start_matches('/');
        let is_hidden = |part: &str| !self.hidden && part.starts_with('.') && part != ".well-known";
        let is_odd = name.contains('\0') || name.split('/').any(is_hidden);
        (!is_odd).then(|| name.to_owned())
    }

    fn open(&self, name: &str, request: &HeaderMap) -> io::Result<Found> {
        if let Some(gzipped) = &self.gzipped
            && (gzipped.to == GzippedTo::All || takes(request, "gzip"))
            && let Found::File(file) = self.open_one(&format!("{name}.gz"), name, Some("gzip"))?
        {
            return Ok(Found::File(file));
        }
        let found = self.open_one(name, name, None)?;
        let (true, Found::File(whole)) = (self.precompressed, &found) else { return Ok(found) };
        for (coding, ending) in NEIGHBOURS {
            if !takes(request, coding) {
                continue;
            }
            let neighbour = self.open_one(&format!("{name}{ending}"), name, Some(coding))?;
            // One that is older is what was compressed from another file.
            if let Found::File(file) = neighbour
                && file.modified >= whole.modified
            {
                return Ok(Found::File(file));
            }
        }
        Ok(found)
    }

    /// What is in a directory below the root.
    fn entries(&self, path: &str) -> io::Result<Vec<Entry>> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, &self.root, directory, Mode::empty())?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = rustix::fs::openat2(&root, path, flags, Mode::empty(), beneath)?;
        listing::read(&File::from(opened))
    }

    fn open_one(&self, path: &str, name: &str, coding: Option<&'static str>) -> io::Result<Found> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match rustix::fs::openat(CWD, &self.root, directory, Mode::empty()) {
            Ok(root) => root,
            Err(error) => {
                let error = io::Error::from(error);
                return if is_absence(&error) { Ok(Found::Missing) } else { Err(error) };
            }
        };
        // NONBLOCK: a pipe that nobody writes to must not hold a thread.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = rustix::fs::openat2(&root, path, flags, Mode::empty(), beneath);
        let file = match opened {
            Ok(file) => File::from(file),
            Err(error) => {
                return match io::Error::from(error) {
                    error if error.kind() == io::ErrorKind::PermissionDenied => {
                        Ok(Found::Forbidden)
                    }
                    error if is_absence(&error) => Ok(Found::Missing),
                    error => Err(error),
                };
            }
        };
        let about = file.metadata()?;
        if about.is_dir() {
            return Ok(Found::Directory);
        }
        if !about.is_file() {
            return Ok(Found::Missing);
        }
        let (seconds, nanos) = (about.mtime(), about.mtime_nsec());
        let version = format!("{seconds:x}.{nanos:x}-{:x}", about.len());
        Ok(Found::File(Box::new(OpenFile {
            length: about.len(),
            modified: about.modified()?,
            version: coding.map_or_else(|| version.clone(), |coding| format!("{version}-{coding}")),
            name: name.to_owned(),
            coding,
            file,
        })))
    }
}

fn steps_up(path: &Path) -> usize {
    path.components().filter(|part| matches!(part, Component::ParentDir)).count()
}

/// Whether there is simply no such file, or one that leads out of the root.
fn is_absence(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        code,
        Some(
            Errno::NOENT
                | Errno::NOTDIR
                | Errno::XDEV
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::NXIO
        )
    )
}

/// The media type by the name's ending. `mime_guess` takes `.ts` for something else than what
/// streams are made of.
pub fn media_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match ending.as_str() {
        "ts" => "video/mp2t",
        "m3u8" => "application/vnd.apple.mpegurl",
        "js" | "mjs" => "text/javascript",
        ending => mime_guess::from_ext(ending).first_raw().unwrap_or("application/octet-stream"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &Files, path: &str) -> &'static str {
        match files.find(path, &HeaderMap::new()).unwrap() {
            Found::File(_) => "file",
            Found::Directory => "directory",
            Found::Missing => "missing",
            Found::Forbidden => "forbidden",
            Found::Entries(_) => "entries",
        }
    }

    #[test]
    fn nothing_outside_the_root_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("sub/.git")).unwrap();
        for name in
            ["root/a.txt", "root/sub/index.html", "root/sub/.git/config", "root/100%", "secret"]
        {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("../secret", root.join("out")).unwrap();
        std::os::unix::fs::symlink(dir.path(), root.join("up")).unwrap();
        std::os::unix::fs::symlink("a.txt", root.join("in")).unwrap();
        std::os::unix::fs::symlink("/proc/self/root", root.join("magic")).unwrap();
        rustix::fs::mkfifoat(CWD, root.join("pipe"), Mode::RWXU).unwrap();
        let index = vec!["index.html".to_owned()];
        let files = Files { index, hidden: false, ..Files::beneath(root) };
        for (path, expected) in [
            ("/a.txt", "file"),
            ("/%61.txt", "file"),
            ("/in", "file"),
            ("/100%25", "file"),
            ("/sub/", "file"),
            ("/sub", "directory"),
            ("/", "forbidden"),
            ("/out", "missing"),
            ("/up/secret", "missing"),
            ("/magic/etc/passwd", "missing"),
            ("/../secret", "missing"),
            ("/%2e%2e/secret", "missing"),
            ("/..%2fsecret", "missing"),
            ("/sub/.git/config", "missing"),
            ("/pipe", "missing"),
            ("/a.txt/x", "missing"),
            ("/%00", "missing"),
        ] {
            assert_eq!(found(&files, path), expected, "{path}");
        }
        let below = Files { strip_prefix: Some("/static/".to_owned()), ..files };
        assert_eq!(found(&below, "/static/a.txt"), "file");
        assert_eq!(found(&below, "/a.txt"), "missing");
        let sites = |written: &str, rendered: String| {
            let of_document = Files { root: dir.path().join(written), ..below.clone() };
            found(&Arc::new(of_document).told(Some(rendered), None), "/static/a.txt")
        };
        let at = |end: &str| dir.path().join(end).display().to_string();
        assert_eq!(sites("$host", at("root")), "file");
        assert_eq!(sites("root/sub/../../$host", at("root/sub/../../root")), "file");
        assert_eq!(
            sites("root/sub/$host", at("root/sub/..")),
            "missing",
            "above where it was to end"
        );
        assert_eq!(sites("x/$query_dir", at("x/../root")), "missing");
    }

    #[test]
    fn media_types_of_streams() {
        for (name, expected) in [
            ("a.m3u8", "application/vnd.apple.mpegurl"),
            ("a.TS", "video/mp2t"),
            ("a.mp4", "video/mp4"),
            ("a.html", "text/html"),
            ("a", "application/octet-stream"),
        ] {
            assert_eq!(media_type(name), expected, "{name}");
        }
    }
}
