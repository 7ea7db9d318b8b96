//! A text a person wrote, with the name they know it by.

use std::path::Path;

/// One document: the name as the person typed it (`site.yaml`, `<stdin>`) and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub text: String,
}

/// Largest document that is read, in bytes. A real one is a few hundred KiB at most.
pub const SOURCE_BYTES_MAX: u64 = 4 * 1024 * 1024;

impl Source {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source { name: name.into(), text: text.into() }
    }

    /// Reads a UTF-8 file of at most [`SOURCE_BYTES_MAX`] bytes.
    pub fn read(path: &Path) -> std::io::Result<Source> {
        use std::io::Read;
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > SOURCE_BYTES_MAX {
            return Err(invalid(format!("the file is larger than {SOURCE_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            invalid(format!("the file is not UTF-8 text: wrong byte {at} in line {line}"))
        })?;
        Ok(Source { name: path.display().to_string(), text })
    }
}

fn invalid(message: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, message)
}
