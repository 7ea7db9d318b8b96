//! The live edge of a stream: how far it has come, and what lies too far ahead of it.

use crate::video::reload::Reload;

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Media sequence number of its last whole segment.
    pub last: u64,
    /// Parts of the segment after it.
    pub parts: u64,
    /// When its playlist was last fetched.
    pub seen_ms: u64,
    pub target_ms: u64,
    pub part_target_ms: Option<u64>,
    pub ended: bool,
}

/// Refuses what lies too far ahead of the live edge, as far as that is known: 400. What the stream
/// may have gained since it was last seen is allowed for.
pub fn judge(reload: Reload, edge: Option<&Edge>, now_ms: u64) -> Result<(), &'static str> {
    let Some(edge) = edge.filter(|edge| !edge.ended) else { return Ok(()) };
    let since_ms = now_ms.saturating_sub(edge.seen_ms);
    let Some(gained) = since_ms.checked_div(edge.target_ms) else { return Ok(()) };
    if reload.msn > edge.last.saturating_add(2).saturating_add(gained) {
        return Err("_HLS_msn is more than two segments ahead of the playlist");
    }
    let (Some(part), Some(part_target_ms)) = (reload.part, edge.part_target_ms) else {
        return Ok(());
    };
    let is_current = reload.msn == edge.last + 1 && gained == 0;
    // The advance part limit: three seconds of parts, at least three.
    let ahead = 3000u64.div_ceil(part_target_ms.max(1)).max(3);
    let gained_parts = since_ms / part_target_ms.max(1) + 1;
    if is_current && part > edge.parts.saturating_add(ahead).saturating_add(gained_parts) {
        return Err("_HLS_part is too far ahead of the playlist");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_too_far_ahead_is_refused() {
        let edge = Edge {
            last: 100,
            parts: 1,
            seen_ms: 10_000,
            target_ms: 4000,
            part_target_ms: Some(500),
            ended: false,
        };
        let judged = |msn, part, now_ms| judge(Reload { msn, part }, Some(&edge), now_ms).is_ok();
        assert!(judged(102, None, 10_000) && !judged(103, None, 10_000));
        assert!(judged(103, None, 14_000), "a segment may have come since");
        assert!(judged(101, Some(8), 10_000) && !judged(101, Some(9), 10_000));
        assert!(judged(101, Some(9), 10_500), "a part may have come since");
        assert!(judge(Reload { msn: 500, part: None }, None, 0).is_ok(), "nothing is known");
        let ended = Edge { ended: true, ..edge };
        assert!(judge(Reload { msn: 500, part: None }, Some(&ended), 0).is_ok());
    }
}
