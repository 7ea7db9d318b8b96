//! Which lines of a statement are there already, because another one covers the same days. Pure.
//!
//! A line is known again by its identity with its day and its amount: a bank gives one number to a payment and to the fee for
//! it, and takes another day when it corrects itself. What merely looks alike is another line, and said.

use std::collections::HashMap;

use jiff::civil::Date;
use serde::Serialize;
use utoipa::ToSchema;

use super::statement::ReadLine;

/// How the identity begins that tells a line from those of its own statement, and from no others.
pub const OF_STATEMENT: &str = "Stmt ";

/// A line that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub id: i64,
    pub statement: i64,
    /// Whether it was written as the statement that is held against it.
    pub same_format: bool,
    pub line: ReadLine,
}

/// What a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ImportWarning {
    /// Counts the statement's lines from 1.
    pub number: i64,
    #[schema(example = "it may be line 7 of statement 1: …")]
    pub warning: String,
}

/// What a statement has in common with what is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// Numbers of lines that are there already, and the ids of what they are.
    pub repeated: HashMap<i64, i64>,
    pub warnings: Vec<ImportWarning>,
}

/// What makes a line the same as another.
type Same<'a> = (&'a str, Date, i64);

fn same(line: &ReadLine) -> Option<Same<'_>> {
    (!line.identity.is_empty()).then_some((line.identity.as_str(), line.date, line.minor))
}

/// Whether two identities are of two lines whatever else is the same: each is the bank's own for its line, not one that is
/// told by the statement's, which is another in the same statement sent again.
pub fn told_apart(one: &str, other: &str) -> bool {
    let is_the_banks = |identity: &str| !identity.is_empty() && !identity.starts_with(OF_STATEMENT);
    is_the_banks(one) && is_the_banks(other) && one != other
}

/// Takes away the identities that several lines of a statement share with day and amount: a statement names nothing twice.
pub fn distinct(lines: &mut [ReadLine]) -> Vec<ImportWarning> {
    let places: Vec<usize> = {
        let mut counts: HashMap<Same<'_>, usize> = HashMap::new();
        lines.iter().filter_map(same).for_each(|same| *counts.entry(same).or_default() += 1);
        let shared = |line: &ReadLine| same(line).is_some_and(|same| counts[&same] > 1);
        (0..lines.len()).filter(|place| shared(&lines[*place])).collect()
    };
    let mut warnings = Vec::new();
    for place in places {
        let identity = std::mem::take(&mut lines[place].identity);
        let warning = format!(
            "{identity:?} is on several lines of this day and amount and tells none from another; each is a line, and not known again"
        );
        warnings.push(ImportWarning { number: number(place), warning });
    }
    warnings
}

/// Holds a statement, whose identities are distinct, against the lines of its days.
pub fn find(read: &[ReadLine], known: &[Known]) -> Overlap {
    let there: HashMap<Same<'_>, &Known> =
        known.iter().filter_map(|known| Some((same(&known.line)?, known))).collect();
    let mut overlap = Overlap::default();
    for (place, line) in read.iter().enumerate() {
        if let Some(known) = same(line).and_then(|same| there.get(&same)) {
            overlap.repeated.insert(number(place), known.id);
        }
    }
    let taken: Vec<i64> = {
        let mut ids: Vec<i64> = overlap.repeated.values().copied().collect();
        ids.sort_unstable();
        ids
    };
    let mut alike: HashMap<(Date, i64), Vec<&Known>> = HashMap::new();
    let mut moved: HashMap<(&str, i64), &Known> = HashMap::new();
    for known in known.iter().filter(|known| taken.binary_search(&known.id).is_err()) {
        alike.entry((known.line.date, known.line.minor)).or_default().push(known);
        if !known.line.identity.is_empty() {
            moved.insert((&known.line.identity, known.line.minor), known);
        }
    }
    for (place, line) in read.iter().enumerate() {
        let number = number(place);
        if overlap.repeated.contains_key(&number) {
            continue;
        }
        if let Some(known) = moved.get(&(line.identity.as_str(), line.minor)) {
            let warning = format!(
                "it has the identity and amount of line {} of statement {}, and another day ({}); it is open as a line of its own",
                known.id, known.statement, known.line.date
            );
            overlap.warnings.push(ImportWarning { number, warning });
            continue;
        }
        // Each of those that are there is the likeness of one line at most.
        let candidates = alike.get_mut(&(line.date, line.minor));
        let found = candidates.and_then(|candidates| {
            let place = candidates.iter().position(|known| looks_like(line, known))?;
            Some(candidates.swap_remove(place))
        });
        if let Some(known) = found {
            let what = if known.same_format { "day, amount and texts" } else { "day and amount" };
            let warning = format!(
                "it may be line {} of statement {}: {what} are the same, and no identity tells; it is open as a line of its own",
                known.id, known.statement
            );
            overlap.warnings.push(ImportWarning { number, warning });
        }
    }
    overlap
}

/// Of the same day and amount already.
fn looks_like(line: &ReadLine, known: &Known) -> bool {
    let kinds = (kind(&line.identity), kind(&known.line.identity));
    if matches!(kinds, (Some(one), Some(other)) if one == other) {
        // Both have an identity of one kind, and it is another.
        return false;
    }
    let texts = |line: &ReadLine| (line.reference.clone(), line.text.clone());
    !known.same_format || texts(line) == texts(&known.line)
}

/// The first word of an identity that holds beyond its statement.
fn kind(identity: &str) -> Option<&str> {
    if identity.is_empty() || identity.starts_with(OF_STATEMENT) {
        return None;
    }
    identity.split(' ').next()
}

/// Of the line at a place.
fn number(place: usize) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(day: i8, minor: i64, identity: &str, text: &str) -> ReadLine {
        let date = jiff::civil::date(2026, 1, day);
        let (identity, text) = (identity.to_owned(), text.to_owned());
        ReadLine { date, minor, reference: String::new(), text, identity }
    }

    fn known(id: i64, same_format: bool, line: ReadLine) -> Known {
        Known { id, statement: 1, same_format, line }
    }

    /// Repeated lines and warned ones, by number.
    fn found(read: &[ReadLine], known: &[Known]) -> (Vec<(i64, i64)>, Vec<i64>) {
        let overlap = find(read, known);
        let mut repeated: Vec<(i64, i64)> = overlap.repeated.into_iter().collect();
        repeated.sort_unstable();
        (repeated, overlap.warnings.iter().map(|warning| warning.number).collect())
    }

    #[test]
    fn identity_day_and_amount_make_a_line_the_same() {
        let there = [
            known(7, true, line(1, -500, "id a", "x")),
            known(8, true, line(1, -20, "id a", "fee of x")),
            known(9, true, line(2, 300, "id b", "y")),
        ];
        let read = [
            line(1, -20, "id a", "fee, said otherwise"),
            line(1, -500, "id a", "x"),
            line(2, 300, "id c", "y"),
            line(3, 300, "id b", "y"),
        ];
        // The third has an identity of its own; the fourth has another day than what it may be.
        assert_eq!(found(&read, &there), (vec![(1, 8), (2, 7)], vec![4]));
    }

    #[test]
    fn what_looks_alike_is_another_line_and_said() {
        let there = [
            known(1, true, line(1, -500, "", "coffee")),
            known(2, true, line(1, -500, "", "coffee")),
            known(3, true, line(1, -500, "id z", "coffee")),
        ];
        let coffee = line(1, -500, "", "coffee");
        let three = [coffee.clone(), coffee.clone(), coffee.clone(), coffee];
        assert_eq!(found(&three, &there), (vec![], vec![1, 2, 3]));
        // Another text of the same sender is another thing; another format writes texts its own way.
        let tea = [line(1, -500, "", "tea")];
        assert_eq!(found(&tea, &there), (vec![], vec![]));
        let elsewhere = [known(1, false, line(1, -500, "AcctSvcrRef q", "CARD COFFEE"))];
        assert_eq!(found(&[line(1, -500, "id 7", "coffee")], &elsewhere), (vec![], vec![1]));
        // A place in another statement tells nothing.
        let of_another = [known(1, true, line(1, -500, "Stmt 1 entry 1", "coffee"))];
        let read = [line(1, -500, "Stmt 2 entry 1", "coffee")];
        assert_eq!(found(&read, &of_another), (vec![], vec![1]));
    }

    #[test]
    fn what_is_on_several_lines_is_no_identity() {
        let mut lines =
            [line(1, -500, "id a", ""), line(1, -500, "id a", ""), line(1, -20, "id a", "")];
        let warned: Vec<i64> = distinct(&mut lines).iter().map(|one| one.number).collect();
        assert_eq!(warned, [1, 2]);
        assert_eq!(lines.map(|line| line.identity), ["", "", "id a"]);
    }
}
