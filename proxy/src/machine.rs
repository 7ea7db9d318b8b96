//! The machine this runs on.

use std::sync::LazyLock;

/// The name of this machine, as it was when it was first asked for.
pub fn name() -> &'static str {
    static NAME: LazyLock<String> =
        LazyLock::new(|| rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase());
    &NAME
}
