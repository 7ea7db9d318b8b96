//! A deployment under way as a tree of lines, no more and no wider than a terminal has. Pure.

use super::progress::{Progress, ResourceNode, StackNode, Stage};
use super::told;

/// What a terminal has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// How soon a row gives way where there is no room for all: the highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Title,
    Failed,
    StackUnderWay,
    UnderWay,
    Waiting,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Title,
    Stack,
    Resource,
}

struct Row {
    rank: Rank,
    level: Level,
    /// Milliseconds; none of what has not begun.
    took: Option<i64>,
    text: String,
}

/// The tree at `now` (milliseconds since 1970): the deployment, its stacks in their order, and under
/// each what is under way in it or failed, all with the time since it began. Where there is no room
/// for all, what is done goes first, then what waits, and a last line says how many there are.
pub fn lines(progress: &Progress, now: i64, size: Size) -> Vec<String> {
    let mut rows = vec![title(progress, now)];
    for stack in &progress.stacks {
        rows.push(of_a_stack(stack, now));
        let shown = |it: &&ResourceNode| match stack.stage {
            Stage::Waiting | Stage::UnderWay { .. } => true,
            Stage::Done { .. } => false,
            Stage::Failed { .. } => it.failure.is_some(),
        };
        let resources = stack.resources.iter().filter(|(_, it)| shown(it));
        rows.extend(resources.filter_map(|(id, it)| of_a_resource(id, it, now)));
    }
    let room = size.rows.max(2);
    let all = rows.len();
    if all > room {
        // One line is for saying what is left out.
        let mut order: Vec<usize> = (0..all).collect();
        order.sort_by_key(|index| (rows[*index].rank, *index));
        order.truncate(room - 1);
        let mut index = 0;
        rows.retain(|_| {
            index += 1;
            order.contains(&(index - 1))
        });
    }
    let mut lines: Vec<String> = (0..rows.len()).map(|index| drawn(&rows, index)).collect();
    if lines.len() < all {
        lines.push(format!("{:7}and {} more", "", all - lines.len()));
    }
    lines.iter().map(|line| cut(line, size.columns)).collect()
}

fn title(progress: &Progress, now: i64) -> Row {
    let done = |it: &&StackNode| matches!(it.stage, Stage::Done { .. });
    let (done, all) = (progress.stacks.iter().filter(done).count(), progress.stacks.len());
    let text = format!("{}: {done} of {all} stacks done", progress.title);
    Row { rank: Rank::Title, level: Level::Title, took: Some(now - progress.begun), text }
}

fn of_a_stack(stack: &StackNode, now: i64) -> Row {
    let (rank, mark, took) = match stack.stage {
        Stage::Waiting => (Rank::Waiting, ' ', None),
        Stage::UnderWay { since } => (Rank::StackUnderWay, '…', Some(now - since)),
        Stage::Done { since, until } => (Rank::Done, '✔', Some(until - since)),
        Stage::Failed { since, until } => (Rank::Failed, '✘', Some(until - since)),
    };
    let mut text = format!("{mark} {}", stack.name);
    if !stack.status.is_empty() {
        text.push_str("  ");
        text.push_str(&stack.status);
    }
    let counts = stack.total > 0 && matches!(stack.stage, Stage::UnderWay { .. });
    // Of what is taken back, nobody says how much there is.
    if counts && !stack.status.contains("rollback") {
        text.push_str(&format!(", {} of {}", stack.done().min(stack.total), stack.total));
    }
    Row { rank, level: Level::Stack, took, text }
}

/// A resource that is under way or failed; the others are counted with their stack.
fn of_a_resource(id: &str, resource: &ResourceNode, now: i64) -> Option<Row> {
    let took = Some(resource.until.unwrap_or(now) - resource.since);
    let (rank, mark) = match (&resource.failure, resource.until) {
        (Some(_), _) => (Rank::Failed, '✘'),
        (None, None) => (Rank::UnderWay, '…'),
        (None, Some(_)) => return None,
    };
    let mut text = format!("{mark} {id}  {}  {}", resource.kind, resource.status);
    if let Some(reason) = resource.failure.as_ref().filter(|reason| !reason.is_empty()) {
        text.push_str(": ");
        text.push_str(reason);
    }
    Some(Row { rank, level: Level::Resource, took, text })
}

fn drawn(rows: &[Row], index: usize) -> String {
    let row = &rows[index];
    let stack_follows = rows[index + 1..].iter().any(|it| it.level == Level::Stack);
    let sibling_follows = rows.get(index + 1).is_some_and(|it| it.level == Level::Resource);
    let branch = match row.level {
        Level::Title => String::new(),
        Level::Stack if stack_follows => "├─ ".to_owned(),
        Level::Stack => "└─ ".to_owned(),
        Level::Resource => format!(
            "{}{}",
            if stack_follows { "│  " } else { "   " },
            if sibling_follows { "├─ " } else { "└─ " }
        ),
    };
    let took = row.took.map_or_else(String::new, told::clock);
    format!("{took:>5}  {branch}{}", row.text)
}

/// Without what would move the cursor, and never wider than the terminal.
fn cut(line: &str, columns: usize) -> String {
    let printable = line.chars().map(|char| if char.is_control() { ' ' } else { char });
    let line: String = printable.collect();
    let line = line.trim_end();
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    let kept: String = line.chars().take(columns.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Event;

    fn event(at: i64, stack: &str, resource: &str, status: &str, reason: &str) -> Event {
        let kind = match resource {
            "Database" => "AWS::RDS::DBInstance",
            "production-data" => "AWS::CloudFormation::Stack",
            _ => "AWS::EC2::Subnet",
        };
        Event {
            id: format!("{at}{resource}"),
            at,
            stack: stack.to_owned(),
            resource: resource.to_owned(),
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// The network made, the data under way with a failure, the rest waiting.
    fn progress() -> Progress {
        let stacks = ["network", "data", "app", "edge"].map(|it| format!("production-{it}"));
        let mut progress = Progress::of("production", &stacks, 0);
        let (network, data) = ("production-network", "production-data");
        progress.begin(network, 1_000, "a change set is made");
        progress.end(network, 42_000, true, "create complete");
        progress.begin(data, 43_000, "a change set is made");
        progress.expect(data, 22);
        for event in [
            event(44_000, data, data, "CREATE_IN_PROGRESS", "User Initiated"),
            event(45_000, data, "Database", "CREATE_IN_PROGRESS", ""),
            event(45_000, data, "Secret", "CREATE_IN_PROGRESS", ""),
            event(46_000, data, "Secret", "CREATE_COMPLETE", ""),
            event(46_000, data, "Queue", "CREATE_IN_PROGRESS", ""),
            event(58_000, data, "Queue", "CREATE_FAILED", "no queue\nfor\tyou"),
        ] {
            progress.apply(&event);
        }
        progress
    }

    fn shown(columns: usize, rows: usize) -> String {
        lines(&progress(), 3_725_000, Size { columns, rows }).join("\n")
    }

    #[test]
    fn stacks_in_their_order_and_what_is_under_way_in_them() {
        insta::assert_snapshot!(shown(80, 24));
    }

    #[test]
    fn a_narrow_terminal_cuts_lines_and_a_low_one_leaves_out_what_is_done() {
        insta::assert_snapshot!(shown(40, 6));
        for (columns, rows) in [(1, 1), (10, 2), (40, 3), (200, 7), (79, 8)] {
            let shown = lines(&progress(), 60_000, Size { columns, rows });
            assert!(shown.len() <= rows.max(2), "{shown:?}");
            assert!(shown.iter().all(|line| line.chars().count() <= columns), "{shown:?}");
        }
    }

    #[test]
    fn what_is_taken_back_and_what_is_done_are_told_without_counts() {
        let mut progress = progress();
        let data = "production-data";
        progress.apply(&event(59_000, data, data, "ROLLBACK_IN_PROGRESS", ""));
        progress.apply(&event(60_000, data, "Secret", "DELETE_IN_PROGRESS", ""));
        let under_way = lines(&progress, 61_000, Size { columns: 80, rows: 24 }).join("\n");
        progress.end(data, 70_000, false, "rollback complete");
        let ended = lines(&progress, 70_000, Size { columns: 80, rows: 24 }).join("\n");
        insta::assert_snapshot!(format!("{under_way}\n\n{ended}"));
    }
}
