//! What a run keeps on disk: its folder, its lock, and what `status` and `down` read.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ports::Moved;
use crate::supervisor::ChildStatus;

/// The folder of one environment's runs on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFolder {
    /// Absolute.
    pub path: PathBuf,
}

/// Where a run stands as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Starting,
    Running,
    Stopping,
    #[default]
    Stopped,
}

/// A run as `status -o json` prints it; also the content of `state.json` while it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub name: String,
    pub running: bool,
    pub stage: Stage,
    /// The supervisor.
    pub pid: Option<u32>,
    pub started_at: Option<Timestamp>,
    /// The environment file.
    pub environment: PathBuf,
    pub state_dir: PathBuf,
    pub logs: PathBuf,
    pub urls: BTreeMap<String, String>,
    pub children: Vec<ChildStatus>,
    pub ports_moved: Vec<Moved>,
    /// What is missing, and what was done instead.
    pub notes: Vec<String>,
}

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The same environment is up already.
    #[error("the environment is already running")]
    Running,
    /// The folder is another environment's.
    #[error(
        "the state folder {} belongs to {}, not to {}: choose another one with --state-dir",
        .folder.display(), .owner.display(), .environment.display()
    )]
    Owned { folder: PathBuf, owner: PathBuf, environment: PathBuf },
    /// What stands behind a `?` would be taken for parameters of the database.
    #[error("the path of the state folder {} has a `?` in it, which a database URL cannot have", .0.display())]
    Unspeakable(PathBuf),
    /// The file system refuses.
    #[error(
        "the state folder {} cannot be used: {cause}; choose another one with --state-dir",
        .folder.display()
    )]
    Io { folder: PathBuf, cause: io::Error },
}

/// How long a lock that changes hands is looked at.
const LOOK_MAX: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the lock says.
enum Held {
    Not,
    By(u32),
    BySomebody,
}

/// The right to run in a state folder; it ends with the process, however that ends.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

impl StateFolder {
    /// The folder of `environment`: `chosen`, else `.forebay/STEM` beside the file, `STEM` being
    /// its name without extension. So it is the same from every working directory.
    pub fn of(environment: &Path, chosen: Option<&Path>) -> io::Result<Self> {
        let path = match chosen {
            Some(chosen) => chosen.to_owned(),
            None => {
                let stem = environment.file_stem().unwrap_or(environment.as_os_str());
                environment.parent().unwrap_or(Path::new("")).join(".forebay").join(stem)
            }
        };
        std::path::absolute(path).map(|path| Self { path })
    }

    /// The effective proxy document.
    pub fn proxy_document(&self) -> PathBuf {
        self.path.join("proxy.yaml")
    }

    /// The segments of the live streams.
    pub fn live(&self) -> PathBuf {
        self.path.join("live")
    }

    /// The children's logs.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// The ledger's database.
    pub fn ledger_data(&self) -> PathBuf {
        self.path.join("ledger").join("ledger.sqlite")
    }

    fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    fn state(&self) -> PathBuf {
        self.path.join("state.json")
    }

    fn owner(&self) -> PathBuf {
        self.path.join("owner")
    }

    /// Takes the folder for a run of `environment`. A lock left by a killed run is none.
    pub fn claim(&self, environment: &Path) -> Result<Claim, StateError> {
        let broken = |cause| StateError::Io { folder: self.path.clone(), cause };
        if self.path.to_string_lossy().contains('?') {
            return Err(StateError::Unspeakable(self.path.clone()));
        }
        fs::create_dir_all(&self.path).map_err(broken)?;
        let lock = self.take_lock().map_err(broken)?.ok_or(StateError::Running)?;
        self.check_owner(environment)?;
        for folder in [self.logs(), self.path.join("ledger")] {
            fs::create_dir_all(folder).map_err(broken)?;
        }
        Ok(Claim { _lock: lock })
    }

    fn check_owner(&self, environment: &Path) -> Result<(), StateError> {
        let broken = |cause| StateError::Io { folder: self.path.clone(), cause };
        let environment = environment.canonicalize().map_err(broken)?;
        if let Ok(owner) = fs::read_to_string(self.owner()) {
            let owner = PathBuf::from(owner.trim_end());
            // An owner that is gone was moved or renamed: the folder goes with whoever asks.
            if owner != environment && owner.exists() {
                let folder = self.path.clone();
                return Err(StateError::Owned { folder, owner, environment });
            }
        }
        write_whole(&self.owner(), environment.display().to_string().as_bytes()).map_err(broken)
    }

    /// The lock, or none when a live process has it. `status` holds it for an instant when it
    /// looks, so one refusal is not believed.
    fn take_lock(&self) -> io::Result<Option<File>> {
        let deadline = Instant::now() + LOOK_MAX;
        loop {
            let mut file = self.open_lock()?;
            match file.try_lock() {
                // The one who had it may have removed the file between our opening and locking.
                Ok(()) if is_file_at(&file, &self.lock()) => {
                    file.set_len(0)?;
                    file.rewind()?;
                    writeln!(file, "{}", std::process::id())?;
                    return Ok(Some(file));
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(LOOK_EVERY);
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    fn open_lock(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.lock())
    }

    /// The process that runs here, if one does.
    pub fn holder(&self) -> io::Result<Option<u32>> {
        let deadline = Instant::now() + LOOK_MAX;
        loop {
            match self.look_at_lock()? {
                Held::Not => return Ok(None),
                Held::By(pid) => return Ok(Some(pid)),
                // It was just taken; the id is being written.
                Held::BySomebody if Instant::now() < deadline => std::thread::sleep(LOOK_EVERY),
                Held::BySomebody => {
                    return Err(io::Error::other(format!(
                        "{} has no process id in it",
                        self.lock().display()
                    )));
                }
            }
        }
    }

    fn look_at_lock(&self) -> io::Result<Held> {
        let mut file = match File::open(self.lock()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held::Not),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Held::Not),
            Err(TryLockError::Error(error)) => Err(error),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                Ok(text.trim().parse().map_or(Held::BySomebody, Held::By))
            }
        }
    }

    /// Whether the process has the lock's file open, as far as this one may see.
    pub fn is_held_by(&self, pid: u32) -> bool {
        let Ok(lock) = self.lock().canonicalize() else { return false };
        match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(open) => {
                open.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|file| file == lock))
            }
            // Without `/proc` there are no containers of the kind that hide a process.
            Err(error) => {
                error.kind() != io::ErrorKind::NotFound || !Path::new("/proc/self").exists()
            }
        }
    }

    /// What the run here last told of itself, whether it still lives or not.
    pub fn last_told(&self) -> Option<Run> {
        serde_json::from_slice(&fs::read(self.state()).ok()?).ok()
    }

    /// Tells `status` and `down` about this run.
    pub fn tell(&self, run: &Run) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(run).map_err(io::Error::other)?;
        write_whole(&self.state(), &text)
    }

    /// Removes what only a running environment needs; data, logs and the owner stay.
    pub fn clear_run(&self) -> io::Result<()> {
        remove_folder(&self.live())?;
        let ledger_lock = self.ledger_data().with_extension("sqlite.lock");
        // Our ledger is gone by now; one that somebody runs by hand on this data keeps its lock.
        if File::open(&ledger_lock).is_ok_and(|file| file.try_lock().is_ok()) {
            remove_file(&ledger_lock)?;
        }
        for file in [self.proxy_document(), self.state(), self.lock()] {
            remove_file(&file)?;
        }
        Ok(())
    }

    /// Removes everything Forebay put here, and the folder when nothing else is in it.
    pub fn delete(&self) -> io::Result<()> {
        self.clear_run()?;
        remove_folder(&self.path.join("ledger"))?;
        remove_folder(&self.logs())?;
        remove_file(&self.owner())?;
        match fs::remove_dir(&self.path) {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

/// Written beside and renamed, so that a reader never sees half a file.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes)?;
    fs::rename(beside, path)
}

fn is_file_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(open), Ok(there)) = (file.metadata(), fs::metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

fn remove_file(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(path))
}

fn remove_folder(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_dir_all(path))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(base: &Path) -> (StateFolder, PathBuf) {
        let environment = base.join("local.yaml");
        fs::write(&environment, "version: 1\n").unwrap();
        (StateFolder::of(&environment, None).unwrap(), environment)
    }

    #[test]
    fn the_folder_is_beside_the_file_and_can_be_chosen() {
        let of = |file: &str, chosen: Option<&str>| {
            StateFolder::of(Path::new(file), chosen.map(Path::new)).unwrap().path
        };
        assert_eq!(
            of("/srv/environments/local.yaml", None),
            Path::new("/srv/environments/.forebay/local")
        );
        assert_eq!(of("/srv/local.yaml", Some("/var/lib/x")), Path::new("/var/lib/x"));
        assert!(of("local.yaml", None).is_absolute());
    }

    #[test]
    fn a_claim_excludes_a_second_one_until_it_ends() {
        let base = tempfile::tempdir().unwrap();
        let (state, environment) = folder(base.path());
        assert_eq!(state.holder().unwrap(), None);
        let claim = state.claim(&environment).unwrap();
        assert!(matches!(state.claim(&environment), Err(StateError::Running)));
        assert_eq!(state.holder().unwrap(), Some(std::process::id()));
        assert!(state.is_held_by(std::process::id()));
        let mut other = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        assert!(!state.is_held_by(other.id()) || !Path::new("/proc/self").exists());
        other.kill().unwrap();
        other.wait().unwrap();
        drop(claim);
        assert_eq!(state.holder().unwrap(), None);
        state.claim(&environment).unwrap();
    }

    #[test]
    fn another_file_cannot_use_the_folder_unless_its_owner_is_gone() {
        let base = tempfile::tempdir().unwrap();
        let (state, environment) = folder(base.path());
        drop(state.claim(&environment).unwrap());
        let other = base.path().join("local.yml");
        fs::write(&other, "version: 1\n").unwrap();
        let error = state.claim(&other).unwrap_err();
        assert!(matches!(error, StateError::Owned { .. }), "{error}");
        assert!(error.to_string().contains("--state-dir"), "{error}");
        fs::remove_file(&environment).unwrap();
        state.claim(&other).unwrap();
    }

    #[test]
    fn clearing_keeps_data_and_deleting_keeps_what_is_not_ours() {
        let base = tempfile::tempdir().unwrap();
        let (state, environment) = folder(base.path());
        let claim = state.claim(&environment).unwrap();
        state.tell(&Run { name: "local".to_owned(), running: true, ..Run::default() }).unwrap();
        fs::create_dir_all(state.live().join("clock")).unwrap();
        fs::write(state.ledger_data(), "data").unwrap();
        fs::write(state.path.join("mine.txt"), "not yours").unwrap();
        assert_eq!(state.last_told().unwrap().name, "local");
        state.clear_run().unwrap();
        drop(claim);
        let mut left: Vec<String> = fs::read_dir(&state.path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["ledger", "logs", "mine.txt", "owner"]);
        state.delete().unwrap();
        assert!(state.path.join("mine.txt").exists());
        fs::remove_file(state.path.join("mine.txt")).unwrap();
        state.delete().unwrap();
        assert!(!state.path.exists());
    }
}
