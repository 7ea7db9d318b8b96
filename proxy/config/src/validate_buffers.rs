//! Rules for buffer policies, and for routes and lanes that use them.

use crate::buffer_policy::{BufferMode, BufferPolicy, BufferSide, PART, Side};
use crate::config::Config;
use crate::findings::Findings;
use crate::lane::Lane;
use crate::route::Route;

pub(crate) fn check(policy: &BufferPolicy, path: &str, findings: &mut Findings<'_>) {
    let resolved = policy.resolved();
    for (key, written, side) in [
        ("responses", &policy.responses, resolved.responses),
        ("requests", &policy.requests, resolved.requests),
    ] {
        let Some(written) = written else { continue };
        let path = format!("{path}.{key}");
        check_marks(&side, &path, findings);
        check_sizes(written, &side, &path, findings);
    }
}

fn check_marks(side: &Side, path: &str, findings: &mut Findings<'_>) {
    if side.low_water > side.high_water {
        let (low, high) = (side.low_water, side.high_water);
        findings.add_related(
            &format!("{path}.low_water"),
            format!("the low water mark {low} is above the high one {high}"),
            "make `low_water` at most `high_water`",
            (&format!("{path}.high_water"), "the high water mark"),
        );
    }
    if side.high_water > side.memory_max {
        let message = format!("the high water mark {} can never be reached", side.high_water);
        let hint = format!("make it at most `memory_max` ({})", side.memory_max);
        findings.add(format!("{path}.high_water"), message, hint);
    }
}

fn check_sizes(written: &BufferSide, side: &Side, path: &str, findings: &mut Findings<'_>) {
    if side.memory_max < PART {
        let message = format!("what is read at once does not fit into {}", side.memory_max);
        findings.add(format!("{path}.memory_max"), message, format!("make it at least {PART}"));
    }
    findings.not_zero(format!("{path}.high_water"), side.high_water.as_bytes());
    if let Some(ahead) = written.read_ahead {
        findings.not_zero(format!("{path}.read_ahead"), ahead.as_bytes());
    }
    if let Some(pace) = written.pace {
        findings.not_zero(format!("{path}.pace"), pace.as_bytes_per_second());
    }
    if written.pace_burst.is_some() && side.pace.is_none() {
        let hint = "add `pace: 4MiB/s`, or remove it";
        findings.add(format!("{path}.pace_burst"), "nothing is paced here", hint);
    }
    if side.mode == BufferMode::Spill {
        findings.not_zero(format!("{path}.spill_max"), side.spill_max.as_bytes());
    } else if written.spill_max.is_some() {
        let hint = "add `mode: spill`, or remove it";
        findings.add(format!("{path}.spill_max"), "nothing spills here", hint);
    }
    if side.is_off() {
        let idle = [
            ("memory_max", written.memory_max.is_some()),
            ("high_water", written.high_water.is_some()),
            ("low_water", written.low_water.is_some()),
            ("spool", written.spool == Some(true)),
            ("when_full", written.when_full.is_some()),
        ];
        for (key, is_written) in idle {
            if is_written {
                let hint = "set `mode: memory`, or remove it";
                findings.add(format!("{path}.{key}"), "nothing is held with `mode: off`", hint);
            }
        }
    }
}

/// A route's policy must have what it needs of the route's lane.
pub(crate) fn check_route(config: &Config, route: &Route, path: &str, findings: &mut Findings<'_>) {
    let Some(name) = &route.buffer_policy else { return };
    let place = format!("{path}.buffer_policy");
    findings.must_exist(&place, name, "buffer_policies", &config.buffer_policies);
    let Some(policy) = config.buffer_policies.get(name) else { return };
    let resolved = policy.resolved();
    let lane: &Lane = config.lanes.get(route.lane);
    let spills =
        [resolved.responses, resolved.requests].iter().any(|s| s.mode == BufferMode::Spill);
    if spills && lane.spill.is_none() {
        let message = format!("it spills, and the lane `{}` says nowhere where to", route.lane);
        let hint = format!(
            "add `lanes: {{ {}: {{ spill: {{ path: /var/spool/forebay, bytes_max: 10GiB }} }} }}`",
            route.lane
        );
        findings.add(place, message, hint);
    }
}
