//! The file that an answer names, and the directories it may lie beneath.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, HeaderName, TRAILER, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::http::ResponseHeader;

use crate::files::{Files, Found};
use crate::path::unescaped;

const X_SENDFILE: HeaderName = HeaderName::from_static("x-sendfile");

/// Fields of the answer that would be wrong of the file, or are said to the proxy alone.
fn is_left_out(name: &HeaderName) -> bool {
    let of_body =
        [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, TRAILER, TRANSFER_ENCODING];
    of_body.contains(name) || *name == X_SENDFILE || name.as_str().starts_with("x-accel-")
}

/// The directories whose files the servers of an upstream may hand out.
#[derive(Debug)]
pub struct Folders(Vec<(PathBuf, Arc<Files>)>);

/// A file that an answer names.
#[derive(Clone, Debug)]
pub struct Named {
    pub path: HeaderValue,
    /// Of the answer.
    pub status: StatusCode,
    /// What else the answer says.
    pub fields: HeaderMap,
    pub folders: Arc<Folders>,
}

impl Folders {
    /// Of an upstream whose answers may be meant for the proxy; of others none, and the field is the client's.
    pub fn of(config: &proxy_config::Upstream) -> Option<Arc<Folders>> {
        let is_heard = config.fastcgi.is_some() || config.x_accel || !config.x_sendfile.is_empty();
        let folder = |root: &PathBuf| (root.clone(), Arc::new(Files::beneath(root.clone())));
        is_heard.then(|| Arc::new(Folders(config.x_sendfile.iter().map(folder).collect())))
    }

    /// The file that `answer` names, if it names one.
    pub fn named(self: &Arc<Folders>, answer: &ResponseHeader) -> Option<Named> {
        let path = answer.headers.get(X_SENDFILE)?.clone();
        let mut fields = HeaderMap::new();
        for (name, value) in answer.headers.iter().filter(|(name, _)| !is_left_out(name)) {
            fields.append(name.clone(), value.clone());
        }
        Some(Named { path, status: answer.status, fields, folders: Arc::clone(self) })
    }

    /// What is at a path; nothing where no directory has it. Applications write a path as it is or escaped: what there is
    /// by the first reading counts. Blocks on the disk.
    pub fn find(&self, said: &[u8]) -> io::Result<Option<(Arc<Files>, Found)>> {
        let mut is_missing = None;
        for bytes in [said, &unescaped(said)] {
            let Some(path) = std::str::from_utf8(bytes).ok().and_then(simplified) else { continue };
            for (root, files) in &self.0 {
                let Some(name) = below(root, &path) else { continue };
                match files.named(&name)? {
                    Found::Missing => is_missing = Some((Arc::clone(files), Found::Missing)),
                    found => return Ok(Some((Arc::clone(files), found))),
                }
            }
        }
        Ok(is_missing)
    }
}

/// An absolute path without steps upwards.
fn simplified(path: &str) -> Option<PathBuf> {
    if !path.starts_with('/') || path.contains('\0') {
        return None;
    }
    let mut simple = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => simple.push(name),
            Component::ParentDir if !simple.pop() => return None,
            _ => {}
        }
    }
    Some(simple)
}

/// The rest of a path below a directory as it is written, or as it is now: the paths of a release that a link leads to are
/// what frameworks say.
fn below(root: &Path, path: &Path) -> Option<String> {
    let name = match path.strip_prefix(root) {
        Ok(name) => name,
        Err(_) => path.strip_prefix(root.canonicalize().ok()?).ok()?,
    };
    name.to_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_lies_beneath_a_directory_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().canonicalize().unwrap();
        for folder in ["r1/files/.kept", "r1/code", "more"] {
            fs::create_dir_all(at.join(folder)).unwrap();
        }
        for name in [
            "r1/files/a b.txt",
            "r1/files/50%20.txt",
            "r1/files/.kept/x",
            "r1/code/x.php",
            "more/y",
            "secret",
        ] {
            fs::write(at.join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("r1", at.join("now")).unwrap();
        std::os::unix::fs::symlink("../../secret", at.join("r1/files/out")).unwrap();
        let roots = [at.join("now/files"), at.join("more/")].map(|root| {
            let files = Arc::new(Files::beneath(root.clone()));
            (root, files)
        });
        let folders = Folders(roots.into());
        let find = |path: &str| match folders.find(path.as_bytes()).unwrap() {
            None => "refused",
            Some((_, Found::File(_))) => "file",
            Some((_, Found::Missing)) => "missing",
            Some((_, Found::Directory)) => "directory",
            Some(_) => "other",
        };
        for (path, expected) in [
            ("now/files/a b.txt", "file"),
            ("r1/files/a b.txt", "file"),
            ("now/files/a%20b.txt", "file"),
            ("now/files/50%20.txt", "file"),
            ("now/code/../files/a b.txt", "file"),
            ("now/files/.kept/x", "file"),
            ("more/y", "file"),
            ("more/z", "missing"),
            ("more/y/z", "missing"),
            ("now/files/out", "missing"),
            ("now/files", "missing"),
            ("now/files/.kept", "directory"),
            ("now/code/x.php", "refused"),
            ("now/files/../code/x.php", "refused"),
            ("now/files/%2e%2e/code/x.php", "missing"),
            ("now/filesystem", "refused"),
            ("more/%00", "missing"),
            ("secret", "refused"),
        ] {
            assert_eq!(find(&format!("{}/{path}", at.display())), expected, "{path}");
        }
        for path in ["", "x", "more/y", "/", "/..", "/../etc/passwd", "/etc/passwd"] {
            assert_eq!(find(path), "refused", "{path}");
        }
    }
}
