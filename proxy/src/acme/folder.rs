//! What outlives the process, in a directory for its user alone, by authority: `account.json`, and for each name `NAME.pem`
//! (its key and its chain, published together) and `NAME.json` (what went wrong). `lock` belongs to the process that orders.
//! A file is there whole or not at all, whenever the process ends.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use rustix::fs::{FlockOperation, flock};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::acme::schedule::Trouble;
use crate::tls::shown::from_pem;

/// An account as it is kept.
#[derive(Deserialize, Serialize)]
pub struct Kept {
    pub contact: Option<String>,
    pub credentials: AccountCredentials,
}

/// The directory of one authority.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// Nobody else orders while it is held.
pub struct Held(#[expect(dead_code, reason = "closing it lets go")] File);

/// Certificates of two authorities are not the same: a name is asked for anew when `directory` changes.
fn of_authority(state_path: &Path, directory: &str) -> PathBuf {
    let rest = directory.strip_prefix("https://").unwrap_or(directory);
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' };
    let readable: String = rest.chars().take(100).map(plain).collect();
    let digest = Sha256::digest(directory);
    let tail: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    state_path.join(format!("{readable}-{tail}"))
}

impl Folder {
    /// Makes the directory if it is missing; fails where it cannot be written to.
    pub fn prepare(state_path: &Path, directory: &str) -> Result<Folder, String> {
        let folder = Folder(of_authority(state_path, directory));
        let unusable = |error: io::Error| {
            format!("acme.state_path: {} cannot be used: {error}", folder.0.display())
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder.0).map_err(unusable)?;
        folder.open_lock().map_err(unusable)?;
        Ok(folder)
    }

    /// Only looks: who checks a document need not be who runs it.
    pub fn look(state_path: &Path, directory: &str) -> Result<Folder, String> {
        let unusable = |error: &str| {
            format!("acme.state_path: {} cannot be used: {error}", state_path.display())
        };
        match fs::metadata(state_path) {
            Ok(about) if !about.is_dir() => Err(unusable("it is no directory")),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(unusable(&error.to_string())),
            _ => Ok(Folder(of_authority(state_path, directory))),
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    fn open_lock(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600).open(self.0.join("lock"))
    }

    /// `None`: another process orders.
    pub fn hold(&self) -> io::Result<Option<Held>> {
        let lock = self.open_lock()?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Held(lock))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A name's certificate and its key. What cannot be used is put aside.
    pub fn certificate(&self, host: &str) -> io::Result<Option<CertifiedKey>> {
        self.read(&format!("{host}.pem"), |text| from_pem(text, host))
    }

    pub fn keep_certificate(&self, host: &str, pem: &str) -> io::Result<()> {
        self.write(&format!("{host}.pem"), pem.as_bytes())
    }

    /// What went wrong with a name.
    pub fn trouble(&self, host: &str) -> io::Result<Option<Trouble>> {
        self.read(&format!("{host}.json"), |text| {
            serde_json::from_slice(text).map_err(|error| error.to_string())
        })
    }

    pub fn keep_trouble(&self, host: &str, trouble: &Trouble) -> io::Result<()> {
        self.write(&format!("{host}.json"), &serde_json::to_vec(trouble)?)
    }

    pub fn forget_trouble(&self, host: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(format!("{host}.json"))) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub fn account(&self) -> io::Result<Option<Kept>> {
        self.read("account.json", |text| {
            serde_json::from_slice(text).map_err(|error| error.to_string())
        })
    }

    pub fn keep_account(&self, kept: &Kept) -> io::Result<()> {
        self.write("account.json", &serde_json::to_vec(kept)?)
    }

    /// The authority does not know this account any more.
    pub fn set_account_aside(&self) -> io::Result<()> {
        self.set_aside("account.json")
    }

    fn set_aside(&self, name: &str) -> io::Result<()> {
        fs::rename(self.0.join(name), self.0.join(format!("{name}.broken")))
    }

    fn read<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> io::Result<Option<T>> {
        let path = self.0.join(name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
            }
        };
        match parse(&text) {
            Ok(read) => Ok(Some(read)),
            Err(why) => {
                tracing::warn!(path = %path.display(), why, "a file is broken: it is put aside as .broken, and made anew");
                self.set_aside(name)?;
                Ok(None)
            }
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        // Who is killed meanwhile leaves this one behind, and the next one takes it.
        let beside = self.0.join(format!(".{name}.new"));
        let mut options = OpenOptions::new();
        let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, self.0.join(name))?;
        File::open(&self.0)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const DIRECTORY: &str = "https://acme.example/directory";

    fn made(host: &str) -> String {
        let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        made.signing_key.serialize_pem() + &made.cert.pem()
    }

    #[test]
    fn what_is_kept_is_for_its_user_alone_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let folder = Folder::prepare(&path, DIRECTORY).unwrap();
        assert!(folder.certificate("a.example").unwrap().is_none());
        folder.keep_certificate("a.example", &made("a.example")).unwrap();
        let trouble = Trouble { failures: 2, not_before: 5, why: "no".to_owned() };
        folder.keep_trouble("a.example", &trouble).unwrap();
        let again = Folder::prepare(&path, DIRECTORY).unwrap();
        assert_eq!(again.certificate("a.example").unwrap().unwrap().cert.len(), 1);
        assert_eq!(again.trouble("a.example").unwrap(), Some(trouble));
        again.forget_trouble("a.example").unwrap();
        again.forget_trouble("a.example").unwrap();
        assert_eq!(again.trouble("a.example").unwrap(), None);
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", entry.path());
        }
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        let other = Folder::prepare(dir.path(), "https://acme.example/other").unwrap();
        assert!(other.certificate("a.example").unwrap().is_none(), "another authority's");
    }

    #[test]
    fn what_is_broken_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::prepare(dir.path(), DIRECTORY).unwrap();
        let (good, other) = (made("a.example"), made("b.example"));
        let cut = &good[..good.len() / 2];
        let mixed = good.split_once("-----BEGIN CERT").unwrap().0.to_owned()
            + other.split_once("KEY-----\n-----BEGIN").map_or(&other[..], |(_, rest)| rest);
        for broken in ["", "nonsense", cut, &other, &mixed] {
            folder.keep_certificate("a.example", broken).unwrap();
            assert!(folder.certificate("a.example").unwrap().is_none(), "{broken}");
            assert!(folder.path().join("a.example.pem.broken").exists());
            assert!(!folder.path().join("a.example.pem").exists());
        }
        folder.write("account.json", b"{").unwrap();
        assert!(folder.account().unwrap().is_none());
        fs::create_dir(folder.path().join("b.example.pem")).unwrap();
        assert!(folder.certificate("b.example").is_err(), "what cannot be read is not replaced");
    }

    #[test]
    fn one_process_orders_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::prepare(dir.path(), DIRECTORY).unwrap();
        let held = folder.hold().unwrap();
        assert!(held.is_some() && folder.hold().unwrap().is_none());
        drop(held);
        assert!(folder.hold().unwrap().is_some());
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for used in [Folder::prepare(&file, DIRECTORY), Folder::look(&file, DIRECTORY)] {
            assert!(used.unwrap_err().contains("file"));
        }
        let missing = dir.path().join("missing");
        assert!(Folder::look(&missing, DIRECTORY).is_ok() && !missing.exists());
    }
}
