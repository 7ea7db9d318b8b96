//! A release: the files that instances fetch, their sums, and whether they are what those can run. They
//! are read from a folder, put into the bucket of releases once, and never changed there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::estate::EstatePlan;
use crate::template::{Stack, architecture};

/// Why a folder is not a release.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReleaseError {
    #[error(
        "`{0}` is not the version of a release: use at most 64 letters, digits, `.`, `+` and `-`"
    )]
    Version(String),
    #[error("{path} cannot be read: {message}{hint}")]
    Unreadable { path: PathBuf, message: String, hint: &'static str },
    #[error("{path} is a program for {is}, and the instances of `{stack}` are {wanted} ({kind})")]
    Processor {
        path: PathBuf,
        is: &'static str,
        stack: &'static str,
        wanted: &'static str,
        kind: String,
    },
}

/// A file of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseFile {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// SHA-256, as hexadecimal digits.
    pub sum: String,
    /// The stack whose instances fetch it.
    pub stack: Stack,
    /// The parameter of that stack that holds the sum.
    parameter: &'static str,
}

/// The files of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub version: String,
    pub files: Vec<ReleaseFile>,
}

impl Release {
    /// Reads what the estate's instances fetch of a release from a folder.
    pub fn read(plan: &EstatePlan, version: &str, folder: &Path) -> Result<Self, ReleaseError> {
        let known = |c: u8| c.is_ascii_alphanumeric() || b".+-".contains(&c);
        let first = version.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
        if !first || version.len() > 64 || !version.bytes().all(known) {
            return Err(ReleaseError::Version(version.to_owned()));
        }
        let edge = &plan.estate.edge.instances.kind;
        let mut files = vec![program(folder, "forebay-proxy", Stack::Edge, edge)?];
        if let Some((standby, _)) = &plan.estate.ledger {
            files.push(program(folder, "forebay-ledger", Stack::App, &standby.kind)?);
            if plan.is_isolated() {
                let hint = "; without a way out, instances cannot fetch it from \
                    https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem: put it there \
                    under this name";
                let parameter = "AuthoritiesSha256";
                files.push(file(folder, "rds-authorities.pem", Stack::App, parameter, hint)?);
            }
        }
        Ok(Self { version: version.to_owned(), files })
    }

    /// Where a file stands in the bucket of releases.
    pub fn key(&self, file: &ReleaseFile) -> String {
        format!("forebay/{}/{}", self.version, file.name)
    }

    /// Values of the stacks' parameters, by stack.
    pub fn parameters(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut parameters: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for file in &self.files {
            let values = parameters.entry(file.stack.word().to_owned()).or_default();
            values.insert("ReleaseVersion".to_owned(), self.version.clone());
            values.insert(file.parameter.to_owned(), file.sum.clone());
        }
        parameters
    }
}

fn program(
    folder: &Path,
    name: &'static str,
    stack: Stack,
    kind: &str,
) -> Result<ReleaseFile, ReleaseError> {
    let file = file(folder, name, stack, "ReleaseSha256", "")?;
    let wanted = architecture(kind);
    match processor(&file.bytes) {
        Some(is) if is != wanted => Err(ReleaseError::Processor {
            path: folder.join(name),
            is,
            stack: stack.word(),
            wanted,
            kind: kind.to_owned(),
        }),
        _ => Ok(file),
    }
}

fn file(
    folder: &Path,
    name: &'static str,
    stack: Stack,
    parameter: &'static str,
    hint: &'static str,
) -> Result<ReleaseFile, ReleaseError> {
    let path = folder.join(name);
    let bytes = std::fs::read(&path).map_err(|error| ReleaseError::Unreadable {
        path,
        message: error.to_string(),
        hint,
    })?;
    let sum = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ReleaseFile { name, bytes, sum, stack, parameter })
}

/// The processor an ELF file is for, as EC2 calls it; none of other files, which a script may be.
fn processor(bytes: &[u8]) -> Option<&'static str> {
    let elf = bytes.starts_with(b"\x7fELF\x02\x01");
    match bytes.get(18..20).filter(|_| elf)? {
        [0x3e, 0] => Some("x86_64"),
        [0xb7, 0] => Some("arm64"),
        _ => Some("another kind of machine"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_which_processor_it_is_for() {
        let elf = |machine: u8| {
            let mut bytes = b"\x7fELF\x02\x01".to_vec();
            bytes.resize(64, 0);
            bytes[18] = machine;
            bytes
        };
        assert_eq!(processor(&elf(0x3e)), Some("x86_64"));
        assert_eq!(processor(&elf(0xb7)), Some("arm64"));
        assert_eq!(processor(b"#!/bin/sh"), None);
    }
}
