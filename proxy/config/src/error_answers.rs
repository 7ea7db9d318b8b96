//! What the proxy's own answers look like when something is wrong.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of an error the proxy answers with by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorAnswers {
    /// A JSON object with status, reason and the request's id (RFC 9457).
    #[default]
    ProblemJson,
    /// A short page with the status, in nginx's words; answers and redirects of routes that have no
    /// body get one too.
    Html,
}
