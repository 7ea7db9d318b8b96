//! What the operator reads: JSON lines on standard error, pingora's `log` records included.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Starts logging. `level` is a level (`info`) or a list of directives (`info,h2=debug`). Pingora
/// logs what the access log has too, so it is kept at warnings unless a directive says otherwise.
pub fn start(level: &str) -> Result<(), ParseError> {
    let quiet = matches!(level, "info" | "INFO");
    let directives = if quiet {
        format!("{level},pingora_core=warn,pingora_proxy=warn,pingora_pool=warn")
    } else {
        level.to_owned()
    };
    let filter = EnvFilter::builder().parse(directives)?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}
