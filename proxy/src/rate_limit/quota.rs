//! What a client is told of its limits.

/// The fields of draft-ietf-httpapi-ratelimit-headers: limits, and what is left of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    pub(super) policies: Vec<String>,
    pub(super) left: Vec<String>,
}

impl Quota {
    /// None where no limit is told of.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        let fields = [("ratelimit-policy", &self.policies), ("ratelimit", &self.left)];
        let told = fields.into_iter().filter(|(_, members)| !members.is_empty());
        told.map(|(name, members)| (name, members.join(", ")))
    }

    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }
}
