//! `forebay-proxy schema`

use super::fault::Fault;
use super::output::print;

pub fn run() -> Result<(), Fault> {
    let schema = serde_json::to_string_pretty(&proxy_config::schema::schema())
        .map_err(|error| Fault::Other(error.into()))?;
    print(&format!("{schema}\n"))
}
