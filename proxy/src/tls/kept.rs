//! What of TLS outlives every configuration.

use crate::acme::Issued;
use crate::tls::ocsp::stapler::Staples;
use crate::tls::tickets::TicketKeys;

/// What outlives every configuration, so that a reload takes nothing from who has it.
#[derive(Default)]
pub struct Kept {
    pub tickets: TicketKeys,
    pub issued: Issued,
    pub staples: Staples,
}

impl Kept {
    /// For who checks a document and serves nothing.
    pub fn looking() -> Kept {
        Kept { issued: Issued::looking(), ..Kept::default() }
    }
}
