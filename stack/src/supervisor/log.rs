//! A child's output: one file of limited size, and the one before it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes a log file may reach before it becomes `NAME.log.1`; so a child keeps at most twice that.
pub const LOG_BYTES_MAX: u64 = 4 << 20;

/// An append-only log that is rotated by size.
#[derive(Debug)]
pub struct RotatedLog {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl RotatedLog {
    /// Opens `path` for appending.
    pub fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, bytes_max })
    }

    /// Marks the beginning of a start.
    pub fn mark(&mut self) -> io::Result<()> {
        self.write(format!("{MARK}{}\n", jiff::Timestamp::now()).as_bytes())
    }

    /// Appends `chunk`, beginning a new file first where this one would grow past its limit.
    pub fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        let length = chunk.len() as u64;
        if self.bytes > 0 && self.bytes + length > self.bytes_max {
            std::fs::rename(&self.path, previous(&self.path))?;
            self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.bytes = 0;
        }
        self.file.write_all(chunk)?;
        self.bytes += length;
        Ok(())
    }
}

/// Begins the line that parts one start of a child from the next.
const MARK: &str = "---- started ";

/// The last `lines_max` lines since the last mark in the log at `path`, also across a rotation;
/// empty when there are none.
pub fn tail(path: &Path, lines_max: usize) -> Vec<String> {
    let mut text = last_bytes(&previous(path));
    text.push_str(&last_bytes(path));
    let since_mark = text.rfind(MARK).and_then(|at| text[at..].split_once('\n'));
    let text = since_mark.map_or(text.as_str(), |(_, rest)| rest);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(lines_max)..].iter().map(|line| (*line).to_owned()).collect()
}

fn last_bytes(path: &Path) -> String {
    const TAIL_BYTES: u64 = 8 << 10;
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

fn previous(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_never_takes_more_than_twice_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("child.log");
        let mut log = RotatedLog::open(&path, 100).unwrap();
        for n in 0..50 {
            log.write(format!("line {n}\n").as_bytes()).unwrap();
        }
        let sizes: Vec<u64> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|size| *size <= 100), "{sizes:?}");
        assert_eq!(tail(&path, 2), ["line 48", "line 49"]);
    }

    #[test]
    fn an_existing_log_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("child.log");
        RotatedLog::open(&path, 100).unwrap().write(b"one\n").unwrap();
        RotatedLog::open(&path, 100).unwrap().write(b"two\n\n").unwrap();
        assert_eq!(tail(&path, 9), ["one", "two"]);
        RotatedLog::open(&path, 100).unwrap().mark().unwrap();
        assert!(tail(&path, 9).is_empty());
        RotatedLog::open(&path, 100).unwrap().write(b"three\n").unwrap();
        assert_eq!(tail(&path, 9), ["three"]);
        assert!(tail(&folder.path().join("none.log"), 9).is_empty());
    }
}
