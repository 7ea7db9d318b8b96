//! `$request_body` and `$request_body_file`: bodies that are taken in before anybody is asked, and told of.

use std::path::PathBuf;

use proxy_config::kept_body::KeptBody;
use proxy_config::units::ByteSize;

use crate::translate::log::Logs;
use crate::translate::scope::Scope;
use crate::translate::value::size;
use crate::translate::variable::variables;
use crate::verdict::{Verdict, Verdicts};

/// nginx's names, which are the proxy's too.
pub const NAMES: [&str; 2] = ["request_body", "request_body_file"];

/// nginx's default, and the most that Forebay holds of a request.
const BUFFER: ByteSize = ByteSize::kib(16);
const MOST: ByteSize = ByteSize::mib(1);
/// Where Debian's nginx puts bodies.
const FOLDER: &str = "/var/lib/nginx/body";

/// What is kept of the bodies of a place that passes them on, where something tells of them.
pub fn kept<'a>(scope: &Scope<'a>, logs: &Logs<'a>, verdicts: &mut Verdicts) -> Option<KeptBody> {
    let in_files = scope.one("client_body_in_file_only");
    if let Some(line) = in_files {
        let bounded = line.has("on").then(|| {
            let most = KeptBody::default().bytes_max;
            format!("above {most} of files that nobody has removed, requests are answered 503")
        });
        verdicts.add(line, Verdict::with_differences(bounded.as_slice()));
    }
    let in_files = in_files.filter(|line| !line.has("off"));
    let headers = scope.effective("add_header").iter();
    let told = headers.flat_map(|line| line.texts()).any(is_told) || logs.tell(scope, is_told);
    if in_files.is_none() && !told {
        return None;
    }
    let buffer = scope.one("client_body_buffer_size");
    let wanted = buffer.and_then(|line| line.argument(0)).and_then(size).unwrap_or(BUFFER);
    let memory_max = wanted.min(MOST);
    if let Some(line) = buffer {
        let mut differences = vec![
            "nginx keeps a body that is up to a quarter larger in memory when HTTP/1 says how long it is"
                .to_owned(),
        ];
        if memory_max != wanted {
            differences.push(format!("a body of more than {MOST} is not told of"));
        }
        verdicts.add(line, Verdict::with_differences(&differences));
    }
    let path = scope.one("client_body_temp_path");
    let folder = path.and_then(|line| line.argument(0)).filter(|path| path.starts_with('/'));
    if let Some(line) = path {
        verdicts.add(line, Verdict::exact());
    }
    Some(KeptBody {
        memory_max,
        folder: folder.or(in_files.map(|_| FOLDER)).map(PathBuf::from),
        all_in_files: in_files.is_some(),
        files_stay: in_files.is_some_and(|line| line.has("on")),
        ..KeptBody::default()
    })
}

fn is_told(text: &str) -> bool {
    variables(text).iter().any(|name| NAMES.contains(name))
}
