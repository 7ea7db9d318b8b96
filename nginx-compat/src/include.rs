//! Which files an `include` means.

use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where relative patterns start, or that nothing outside the text is to be read.
#[derive(Clone, Debug)]
pub enum Includes {
    /// Relative to this directory (nginx: that of the main file).
    Under(PathBuf),
    /// `include` is kept as a directive and not followed.
    Unfollowed,
}

/// The files of a pattern in the order nginx reads them (sorted). A pattern without wildcards
/// names one file whether or not it exists; one with wildcards may name none.
pub fn files(prefix: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = prefix.join(pattern);
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![path]);
    }
    let Some(path) = path.to_str() else {
        return Err(format!("\"{pattern}\" is not a pattern that can be searched for"));
    };
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let found = glob::glob_with(path, options)
        .map_err(|error| format!("\"{pattern}\" is not a pattern: {error}"))?;
    let mut files: Vec<PathBuf> = found.filter_map(Result::ok).collect();
    files.sort();
    Ok(files)
}

/// A file's text. Bytes that are not UTF-8 become U+FFFD; the flag says that there were some.
pub fn read(path: &Path) -> Result<(String, bool), String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("open() \"{}\" failed ({})", path.display(), reason(&error)))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("\"{}\" is larger than {FILE_BYTES_MAX} bytes", path.display()));
    }
    Ok(decode(bytes))
}

/// `2: No such file or directory`, as nginx writes errors of the system.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(number) => format!("{number}: {}", text.split(" (os error").next().unwrap_or(&text)),
        None => text,
    }
}

pub fn decode(bytes: Vec<u8>) -> (String, bool) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
    }
}
