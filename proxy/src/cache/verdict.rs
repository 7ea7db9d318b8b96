//! How the cache dealt with a request.

/// Its name is that in the log and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Hit,
    Stale,
    /// Stale, because the origin failed.
    StaleOnError,
    Revalidated,
    Miss,
    /// A miss that shared somebody else's request to the origin.
    Collapsed,
    /// It went to the origin without the cache.
    Pass,
    NotCached,
    /// The origin failed, and nothing could stand in.
    Failed,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Hit => "hit",
            Verdict::Stale => "stale",
            Verdict::StaleOnError => "stale_on_error",
            Verdict::Revalidated => "revalidated",
            Verdict::Miss => "miss",
            Verdict::Collapsed => "collapsed",
            Verdict::Pass => "pass",
            Verdict::NotCached => "not_cached",
            Verdict::Failed => "failed",
        }
    }

    /// nginx's word for it.
    pub fn state(self) -> &'static str {
        match self {
            Verdict::Hit => "HIT",
            Verdict::Stale => "UPDATING",
            Verdict::StaleOnError => "STALE",
            Verdict::Revalidated => "REVALIDATED",
            Verdict::Miss | Verdict::Collapsed | Verdict::NotCached | Verdict::Failed => "MISS",
            Verdict::Pass => "BYPASS",
        }
    }
}
