//! What people see of a deployment: a line for each event, the cause of a failure, and how long each
//! resource took. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::cloud::{Event, StackState};

/// Width of the bars of a chart.
const BAR: i64 = 40;

/// `01:07  data   Database   created`: when after the start, where, what.
pub fn line(event: &Event, start: i64) -> String {
    let name = if event.is_of_the_stack() { "(stack)" } else { &event.resource };
    let (at, status) = (clock(event.at - start), status(&event.status));
    let mut line = format!("{at}  {:<24} {name:<30} {status}", event.stack);
    if event.is_failure() && !event.reason.is_empty() {
        let _ = write!(line, ": {}", event.reason);
    }
    line
}

/// `01:07` of milliseconds; hours are minutes too, and before the start is at it.
pub(super) fn clock(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

pub(super) fn status(status: &str) -> String {
    status.to_lowercase().replace('_', " ")
}

/// Whether a failure is but the consequence of another.
pub(super) fn is_echo(event: &Event) -> bool {
    event.reason.contains("cancelled")
        || event.reason.starts_with("The following resource(s) failed")
        || event.reason.is_empty()
}

/// The failure that began it: the first one that is not the echo of another.
pub fn cause(events: &[Event]) -> Option<&Event> {
    let mut failures = events.iter().filter(|event| event.is_failure());
    let first = failures.clone().find(|event| !event.is_of_the_stack() && !is_echo(event));
    first.or_else(|| failures.next())
}

/// Where a stack stands that did not come out as asked, and what to do about it.
pub fn where_it_stands(name: &str, state: &StackState) -> String {
    let next = match state.status.as_str() {
        "UPDATE_ROLLBACK_FAILED" => "; `forebay resume` goes on with it",
        "ROLLBACK_COMPLETE" | "CREATE_FAILED" => "; the next deploy makes it anew",
        "UPDATE_ROLLBACK_COMPLETE" => "; it is as it was before",
        "DELETE_FAILED" => "; delete what is left by hand, then again",
        _ => "",
    };
    let reason =
        if state.reason.is_empty() { String::new() } else { format!(" ({})", state.reason) };
    format!("{name} is {}{reason}{next}", state.status)
}

/// The resources of each stack as bars over time, as far as the events go.
pub fn chart(events: &[Event]) -> String {
    let mut spans: BTreeMap<(&str, &str), (i64, i64, &str)> = BTreeMap::new();
    for event in events {
        let key = (event.stack.as_str(), event.resource.as_str());
        let span = spans.entry(key).or_insert((event.at, event.at, &event.status));
        span.1 = event.at;
        span.2 = &event.status;
    }
    let start = events.iter().map(|event| event.at).min().unwrap_or_default();
    let end = events.iter().map(|event| event.at).max().unwrap_or_default();
    let length = (end - start).max(1);
    let mut rows: Vec<_> = spans.into_iter().collect();
    rows.sort_by_key(|((stack, _), (from, to, _))| (*stack, *from, *to));
    let mut text = String::new();
    let mut last = "";
    for ((stack, resource), (from, to, status_of)) in rows {
        if stack != last {
            let _ = writeln!(text, "{stack}");
            last = stack;
        }
        if stack == resource {
            continue;
        }
        let cells = |at: i64| usize::try_from((at - start) * BAR / length).unwrap_or_default();
        let (before, wide) = (cells(from), (cells(to) - cells(from)).max(1));
        let _ = writeln!(
            text,
            "  {resource:<30} {:before$}{} {} s{}",
            "",
            "█".repeat(wide),
            (to - from) / 1000,
            if status_of.ends_with("_COMPLETE") {
                String::new()
            } else {
                format!(", {}", status(status_of))
            },
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: i64, resource: &str, status: &str, reason: &str) -> Event {
        let kind = if resource == "data" { "AWS::CloudFormation::Stack" } else { "AWS::X::Y" };
        Event {
            id: format!("{at}"),
            at,
            stack: "data".to_owned(),
            resource: resource.to_owned(),
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn the_cause_is_the_first_failure_that_is_no_echo() {
        let events = [
            event(0, "data", "CREATE_IN_PROGRESS", ""),
            event(1, "Alarm", "CREATE_FAILED", "Resource creation cancelled"),
            event(2, "Database", "CREATE_FAILED", "The engine version is not there"),
            event(3, "data", "ROLLBACK_IN_PROGRESS", ""),
            event(4, "data", "ROLLBACK_FAILED", "The following resource(s) failed to delete"),
        ];
        assert_eq!(cause(&events).unwrap().resource, "Database");
        assert_eq!(cause(&events[..1]), None);
        assert_eq!(cause(&events[4..]).unwrap().resource, "data");
    }

    #[test]
    fn events_are_told_with_the_time_since_the_start() {
        let event = event(67_000, "Database", "CREATE_FAILED", "no room");
        assert!(line(&event, 0).starts_with("01:07  data "), "{}", line(&event, 0));
        assert!(line(&event, 0).ends_with("create failed: no room"), "{}", line(&event, 0));
    }

    #[test]
    fn a_chart_has_a_bar_for_each_resource() {
        let events = [
            event(0, "data", "CREATE_IN_PROGRESS", ""),
            event(0, "Secret", "CREATE_IN_PROGRESS", ""),
            event(2_000, "Secret", "CREATE_COMPLETE", ""),
            event(2_000, "Database", "CREATE_IN_PROGRESS", ""),
            event(8_000, "Database", "CREATE_FAILED", ""),
        ];
        let chart = chart(&events);
        let lines: Vec<&str> = chart.lines().collect();
        assert_eq!(lines[0], "data");
        assert!(lines[1].contains("Secret") && lines[1].ends_with("██████████ 2 s"), "{chart}");
        assert!(
            lines[2].contains("Database") && lines[2].ends_with(" 6 s, create failed"),
            "{chart}"
        );
        assert_eq!(lines[2].matches('█').count(), 30);
    }
}
