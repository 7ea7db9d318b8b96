//! `proxy_buffering`, `proxy_request_buffering` and their sizes: policies by which bodies are held. Where a
//! configuration says nothing of it, bodies are handed on as they come.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proxy_config::buffer_policy::{BufferMode, BufferPolicy, BufferSide, PART};
use proxy_config::lane::Spill;
use proxy_config::units::ByteSize;

use crate::translate::scope::Scope;
use crate::translate::value::{size, unique};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// nginx's defaults.
const BUFFERS: (u64, ByteSize) = (8, ByteSize::kib(4));
const BUFFER: ByteSize = ByteSize::kib(4);
const TEMP_FILE_MAX: ByteSize = ByteSize::mib(1024);
const BODY_BUFFER: ByteSize = ByteSize::kib(16);

/// Bytes on disk of all bodies together; nginx knows no such bound.
const SPILL_MAX: ByteSize = ByteSize::mib(10 * 1024);

/// The policies of a configuration, and where their bodies spill to.
#[derive(Debug, Default)]
pub struct Buffers {
    pub policies: BTreeMap<String, BufferPolicy>,
    pub spill: Option<Spill>,
}

impl Buffers {
    /// The name of a location's policy, where it says that it has one.
    pub fn policy(&mut self, scope: &Scope<'_>, verdicts: &mut Verdicts) -> Option<String> {
        let responses = self.responses(scope, verdicts);
        let requests = self.requests(scope, verdicts);
        let policy = BufferPolicy { preset: None, responses, requests };
        if policy == BufferPolicy::default() {
            return None;
        }
        if let Some((name, _)) = self.policies.iter().find(|(_, known)| **known == policy) {
            return Some(name.clone());
        }
        let name = unique("buffered", |name| self.policies.contains_key(name));
        self.policies.insert(name.clone(), policy);
        Some(name)
    }

    fn responses(&mut self, scope: &Scope<'_>, verdicts: &mut Verdicts) -> Option<BufferSide> {
        let switch = scope.one("proxy_buffering");
        if let Some(line) = switch.filter(|line| line.has("off")) {
            verdicts.add(line, Verdict::exact());
            return None;
        }
        let buffers = scope.one("proxy_buffers");
        if switch.is_none() && buffers.is_none() {
            return None;
        }
        let (count, each) = buffers.and_then(count_and_size).unwrap_or(BUFFERS);
        let first = scope.one("proxy_buffer_size");
        let first_size = first.and_then(only_size).unwrap_or(BUFFER);
        let wanted = each.as_bytes().saturating_mul(count).saturating_add(first_size.as_bytes());
        let on_disk = scope.one("proxy_max_temp_file_size");
        let disk = on_disk.and_then(only_size).unwrap_or(TEMP_FILE_MAX);
        let path = scope.one("proxy_temp_path");
        let (side, differences) = self.side(ByteSize::bytes(wanted), disk, path, "the upstream");
        let lines = [switch, buffers, first, on_disk, path];
        for line in lines.into_iter().flatten() {
            verdicts.add(line, Verdict::with_differences(&differences));
        }
        Some(side)
    }

    fn requests(&mut self, scope: &Scope<'_>, verdicts: &mut Verdicts) -> Option<BufferSide> {
        let line = scope.one("proxy_request_buffering")?;
        if line.has("off") {
            verdicts.add(line, Verdict::exact());
            return None;
        }
        let buffer = scope.one("client_body_buffer_size");
        let wanted = buffer.and_then(only_size).unwrap_or(BODY_BUFFER);
        let most = scope.one("client_max_body_size").and_then(only_size);
        let disk = most.filter(|most| most.as_bytes() > 0).unwrap_or(TEMP_FILE_MAX);
        let path = scope.one("client_body_temp_path");
        let (side, differences) = self.side(wanted, disk, path, "the client");
        for line in [Some(line), buffer, path].into_iter().flatten() {
            verdicts.add(line, Verdict::with_differences(&differences));
        }
        Some(side)
    }

    /// One way of a policy, and how it differs.
    fn side(
        &mut self,
        wanted: ByteSize,
        disk: ByteSize,
        path: Option<&Directive>,
        source: &str,
    ) -> (BufferSide, Vec<String>) {
        let mut differences = Vec::new();
        let memory = wanted.max(PART);
        if memory != wanted {
            differences.push(format!("a body has {PART} of memory, where nginx has {wanted}"));
        }
        let side = BufferSide {
            mode: Some(BufferMode::Memory),
            memory_max: Some(memory),
            ..BufferSide::default()
        };
        let path = path.and_then(|line| line.argument(0)).filter(|path| path.starts_with('/'));
        let spills = match path {
            _ if disk.as_bytes() == 0 => false,
            Some(path) => {
                let spill = Spill { path: PathBuf::from(path), bytes_max: SPILL_MAX };
                let known = self.spill.get_or_insert(spill);
                if known.path != Path::new(path) {
                    let known = known.path.display();
                    differences.push(format!("what does not fit goes to {known}, as elsewhere"));
                }
                true
            }
            None => {
                differences.push(format!(
                    "what does not fit into memory waits at {source}: no path says where on disk it may go"
                ));
                false
            }
        };
        match spills {
            true => {
                let (mode, spill_max) = (Some(BufferMode::Spill), Some(disk));
                (BufferSide { mode, spill_max, ..side }, differences)
            }
            false => (side, differences),
        }
    }
}

fn only_size(line: &Directive) -> Option<ByteSize> {
    line.argument(0).and_then(size)
}

fn count_and_size(line: &Directive) -> Option<(u64, ByteSize)> {
    Some((line.argument(0)?.parse().ok()?, line.argument(1).and_then(size)?))
}
