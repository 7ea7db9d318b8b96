//! Which lines of a statement are which entries. Pure: lines, entries and rules go in, proposals come out. A proposal is sure
//! when nothing else could be meant by its rule; the others are for a person to decide.

use std::collections::{BTreeSet, HashMap};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::search::Search;
use super::side::Side;

/// How a match came to be.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    ToSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The same amount, and the entry's texts have the line's reference as a word
    Reference,
    /// The same amount and the same day
    Exact,
    /// The same amount, some days apart
    Window,
    /// Several entries that come to one line
    ManyToOne,
    /// One entry that is several lines
    OneToMany,
    /// Somebody said so
    Manual,
    /// The entry was booked because of the line
    Adjustment,
}

impl Rule {
    /// Whether it finds matches by itself.
    pub fn finds(self) -> bool {
        !matches!(self, Self::Manual | Self::Adjustment)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Exact => "exact",
            Self::Window => "window",
            Self::ManyToOne => "many-to-one",
            Self::OneToMany => "one-to-many",
            Self::Manual => "manual",
            Self::Adjustment => "adjustment",
        }
    }
}

/// What the rules may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Days that a line and its entry may be apart.
    pub days: i32,
    /// Entries of one line, or lines of one entry, at most.
    pub group_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self { days: 3, group_max: 5 }
    }
}

/// One side of a match: a line or an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub id: i64,
    pub date: Date,
    pub minor: i64,
    /// A line's reference; an entry's description and metadata.
    pub text: String,
}

/// Lines and entries that could be the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Proposal {
    pub rule: Rule,
    /// Nothing else could be meant by the rule.
    pub sure: bool,
    /// Ids of lines.
    pub lines: Vec<i64>,
    /// Ids of entries.
    pub entries: Vec<i64>,
}

/// What the rules came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposed {
    pub proposals: Vec<Proposal>,
    pub not_searched: NotSearched,
}

/// What may be a group of the other side, was not searched for one to the end, and is in no proposal: too many may belong to
/// it, or the run had looked at too many before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct NotSearched {
    /// Ids of the first of the lines.
    #[schema(max_items = 1000)]
    pub lines: Vec<i64>,
    /// How many lines there are in all.
    pub lines_in_all: usize,
    /// Ids of the first of the entries.
    #[schema(max_items = 1000)]
    pub entries: Vec<i64>,
    /// How many entries there are in all.
    pub entries_in_all: usize,
}

/// References shorter than that are in any text by chance.
const REFERENCE_MIN: usize = 4;
/// Items a group is looked for among.
const AMONG_MAX: usize = 24;

/// Steps of all the looking of one run; after them nobody looks any more.
const STEPS_IN_ALL: usize = 20_000_000;

/// Ids that are told of what was not searched.
const NOT_SEARCHED_MAX: usize = 1000;

/// What is not proposed yet.
struct Open<'a> {
    lines: Side<'a>,
    entries: Side<'a>,
    proposals: Vec<Proposal>,
    /// Lines that may be several entries, and entries that may be several lines, and were not searched to the end.
    unsearched: [BTreeSet<i64>; 2],
    doubtful_through: Option<Date>,
}

/// Proposals, in the order of the rules. Every line and every entry is in one at most. What has a part of that day or an earlier
/// one is not sure: there are others, of about that time, that are not among these.
pub fn propose(
    lines: &[Item],
    entries: &[Item],
    rules: Rules,
    doubtful_through: Option<Date>,
) -> Proposed {
    let (lines, entries) = (Side::new(lines), Side::new(entries));
    let (proposals, unsearched) = (Vec::new(), Default::default());
    let mut open = Open { lines, entries, proposals, unsearched, doubtful_through };
    open.named();
    open.pair(Rule::Exact, 0);
    open.pair(Rule::Window, rules.days);
    open.groups(Rule::ManyToOne, rules);
    open.groups(Rule::OneToMany, rules);
    open.nearest(rules);
    let not_searched = open.not_searched();
    Proposed { proposals: open.proposals, not_searched }
}

/// What a reference is looked up by: a text that has it has all of its words.
fn longest_word(reference: &str) -> Option<&str> {
    words(reference).max_by_key(|word| word.chars().count())
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Whether a text has a reference as a word of its own: `1001` is none of `210013`, nor of `RE-1001` or `1001/7`, which may be
/// somebody else's.
fn names(text: &str, reference: &str) -> bool {
    // A sign that joins is part of a word when something stands beyond it.
    let goes_on = |mut beyond: std::str::Chars<'_>, back: bool| {
        let mut next = || if back { beyond.next_back() } else { beyond.next() };
        let first = next();
        match first {
            Some('-' | '_' | '/' | '.') => next().is_some_and(char::is_alphanumeric),
            first => first.is_some_and(char::is_alphanumeric),
        }
    };
    text.match_indices(reference).any(|(place, found)| {
        let (before, after) = (&text[..place], &text[place + found.len()..]);
        !goes_on(before.chars(), true) && !goes_on(after.chars(), false)
    })
}

/// The only one there is.
fn only<'a>(mut found: impl Iterator<Item = &'a Item>) -> Option<&'a Item> {
    let first = found.next()?;
    if found.next().is_none() { Some(first) } else { None }
}

impl<'a> Open<'a> {
    /// Takes pairs of the same amount whose entry names the line's reference, where neither side fits another.
    fn named(&mut self) {
        let mut lines: HashMap<(i64, &str), Vec<&Item>> = HashMap::new();
        for line in self.lines.all().filter(|line| line.text.chars().count() >= REFERENCE_MIN) {
            if let Some(word) = longest_word(&line.text) {
                lines.entry((line.minor, word)).or_default().push(line);
            }
        }
        let mut entries: HashMap<(i64, &str), Vec<&Item>> = HashMap::new();
        for entry in self.entries.all() {
            for word in words(&entry.text).collect::<BTreeSet<_>>() {
                if lines.contains_key(&(entry.minor, word)) {
                    entries.entry((entry.minor, word)).or_default().push(entry);
                }
            }
        }
        let mut found = Vec::new();
        for ((minor, word), lines_of_word) in &lines {
            let entries_of_word = entries.get(&(*minor, *word)).into_iter().flatten().copied();
            for line in lines_of_word {
                let fitting =
                    entries_of_word.clone().filter(|entry| names(&entry.text, &line.text));
                let Some(entry) = only(fitting) else { continue };
                let its_words = words(&entry.text).collect::<BTreeSet<_>>();
                let others = its_words.into_iter().filter_map(|word| lines.get(&(*minor, word)));
                let others = others.flatten().copied();
                if only(others.filter(|line| names(&entry.text, &line.text))).is_some() {
                    found.push((line.id, entry.id));
                }
            }
        }
        found.sort_unstable();
        for (line, entry) in found {
            self.take(Rule::Reference, true, vec![line], vec![entry]);
        }
    }

    /// Takes pairs of the same amount some days apart, where neither side fits another.
    fn pair(&mut self, rule: Rule, days: i32) {
        let fits = |line: &'a Item| {
            let entry = only(self.entries.alike(line, days))?;
            only(self.lines.alike(entry, days)).map(|line| (line.id, entry.id))
        };
        let found: Vec<(i64, i64)> = self.lines.all().filter_map(fits).collect();
        for (line, entry) in found {
            self.take(rule, true, vec![line], vec![entry]);
        }
    }

    /// What is left of the same amount within the window, the nearest first. Never sure.
    fn nearest(&mut self, rules: Rules) {
        for days in 0..=rules.days {
            let rule = if days == 0 { Rule::Exact } else { Rule::Window };
            let lines: Vec<&Item> = self.lines.all().collect();
            for line in lines {
                if let Some(entry) = self.entries.first_apart(line, days) {
                    self.take(rule, false, vec![line.id], vec![entry]);
                }
            }
        }
    }

    /// Several of one side that come to one of the other: sure when there is one way to do it, and none of them could be
    /// anything else. All are looked for before any is taken, so that who comes first does not hide what is left.
    fn groups(&mut self, rule: Rule, rules: Rules) {
        let mut steps = 0;
        let ones: Vec<&Item> = self.ones(rule).all().collect();
        let mut looks = Vec::with_capacity(ones.len());
        for one in &ones {
            let look = self.look(rule, one, rules, &mut steps);
            self.note(rule, one, &look);
            looks.push(look);
        }
        let mut wanted: HashMap<i64, usize> = HashMap::new();
        for id in looks.iter().flat_map(|look| &look.wanted) {
            *wanted.entry(*id).or_default() += 1;
        }
        let crowded = ones.iter().zip(&looks).filter(|(_, look)| look.crowded);
        let crowds = Side::new_of(crowded.map(|(one, _)| *one));
        for (one, look) in ones.iter().zip(looks) {
            let Some(group) = look.group else { continue };
            let many = self.many(rule);
            let untouched = group.iter().all(|id| many.get(*id).is_some());
            let wanted_once = |id: &i64| {
                let item = many.get(*id);
                wanted[id] == 1 && item.is_some_and(|item| !crowds.has_larger(item, rules.days))
            };
            let sure = untouched
                && look.only
                && group.iter().all(wanted_once)
                && !self.pairs_with_another(rule, one, &group, rules);
            // What is left after others took theirs is a suggestion.
            let left = match untouched {
                true => Some(group),
                false => {
                    let again = self.look(rule, one, rules, &mut steps);
                    self.note(rule, one, &again);
                    again.group
                }
            };
            let Some(group) = left else { continue };
            let (lines, entries) = match rule {
                Rule::OneToMany => (group, vec![one.id]),
                _ => (vec![one.id], group),
            };
            self.take(rule, sure, lines, entries);
        }
    }

    /// The side of which one is several of the other.
    fn ones(&self, rule: Rule) -> &Side<'a> {
        if rule == Rule::OneToMany { &self.entries } else { &self.lines }
    }

    fn many(&self, rule: Rule) -> &Side<'a> {
        if rule == Rule::OneToMany { &self.lines } else { &self.entries }
    }

    fn look(&self, rule: Rule, one: &Item, rules: Rules, steps: &mut usize) -> Look {
        let mut among: Vec<&Item> =
            self.many(rule).parts(one, rules.days).take(AMONG_MAX + 1).collect();
        match among.len() {
            0 | 1 => return Look::default(),
            2..=AMONG_MAX if *steps < STEPS_IN_ALL => {}
            // Nobody looks, so any of them may be meant.
            _ => return Look { crowded: true, broken_off: true, ..Look::default() },
        }
        among.sort_by_key(|item| (std::cmp::Reverse(item.minor.unsigned_abs()), item.id));
        let search = Search::run(&among, one.minor.unsigned_abs(), rules.group_max);
        *steps += search.steps;
        let complete = !search.is_broken_off() && search.found.len() < 2;
        let group = search.found.first().cloned();
        let all = || among.iter().map(|item| item.id).collect();
        let wanted = if complete { group.clone().unwrap_or_default() } else { all() };
        let broken_off = search.is_broken_off() && group.is_none();
        Look { only: complete && group.is_some(), group, wanted, crowded: false, broken_off }
    }

    fn note(&mut self, rule: Rule, one: &Item, look: &Look) {
        let [lines, entries] = &mut self.unsearched;
        let of_its_side = if rule == Rule::OneToMany { entries } else { lines };
        if look.broken_off {
            of_its_side.insert(one.id);
        }
    }

    /// Those of them that nothing is proposed for.
    fn not_searched(&self) -> NotSearched {
        let left = |side: &Side<'a>, ids: &BTreeSet<i64>| -> (Vec<i64>, usize) {
            let left: Vec<i64> = ids.iter().copied().filter(|id| side.get(*id).is_some()).collect();
            (left.iter().copied().take(NOT_SEARCHED_MAX).collect(), left.len())
        };
        let [of_lines, of_entries] = &self.unsearched;
        let (lines, lines_in_all) = left(&self.lines, of_lines);
        let (entries, entries_in_all) = left(&self.entries, of_entries);
        NotSearched { lines, lines_in_all, entries, entries_in_all }
    }

    /// Whether the one, or a member of its group, is as much as another that is open.
    fn pairs_with_another(&self, rule: Rule, one: &Item, group: &[i64], rules: Rules) -> bool {
        let (ones, many) = (self.ones(rule), self.many(rule));
        let members = group.iter().filter_map(|id| many.get(*id));
        many.alike(one, rules.days).next().is_some()
            || members.into_iter().any(|item| ones.alike(item, rules.days).next().is_some())
    }

    fn take(&mut self, rule: Rule, sure: bool, lines: Vec<i64>, entries: Vec<i64>) {
        let mut taken: Vec<&Item> = lines.iter().filter_map(|id| self.lines.remove(*id)).collect();
        taken.extend(entries.iter().filter_map(|id| self.entries.remove(*id)));
        let doubtful = |item: &&Item| self.doubtful_through.is_some_and(|day| item.date <= day);
        let sure = sure && !taken.iter().any(doubtful);
        self.proposals.push(Proposal { rule, sure, lines, entries });
    }
}

/// What one item may be several of.
#[derive(Default)]
struct Look {
    group: Option<Vec<i64>>,
    /// There is no other group.
    only: bool,
    /// Those it may be.
    wanted: Vec<i64>,
    /// It may be any that are smaller.
    crowded: bool,
    /// There may be a group that was not found.
    broken_off: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn item(id: i64, day: i8, minor: i64, text: &str) -> Item {
        Item { id, date: jiff::civil::date(2026, 1, day), minor, text: text.into() }
    }

    fn told(lines: &[Item], entries: &[Item]) -> Vec<(Rule, bool, Vec<i64>, Vec<i64>)> {
        let proposed = propose(lines, entries, Rules::default(), None);
        proposed.proposals.into_iter().map(|p| (p.rule, p.sure, p.lines, p.entries)).collect()
    }

    #[test]
    fn each_rule_finds_its_own() {
        let lines = [
            item(1, 1, 100, "order-42"),
            item(2, 1, 200, ""),
            item(3, 1, 300, ""),
            item(4, 20, 1000, ""),
            item(5, 9, 70, ""),
            item(6, 10, 30, ""),
            item(7, 28, 5, ""),
        ];
        let entries = [
            item(11, 15, 100, "pay order-42"),
            item(12, 1, 200, ""),
            item(13, 3, 300, ""),
            item(14, 20, 600, ""),
            item(15, 21, 400, ""),
            item(16, 10, 100, ""),
            item(17, 1, 5, ""),
        ];
        assert_eq!(
            told(&lines, &entries),
            [
                (Rule::Reference, true, vec![1], vec![11]),
                (Rule::Exact, true, vec![2], vec![12]),
                (Rule::Window, true, vec![3], vec![13]),
                (Rule::ManyToOne, true, vec![4], vec![14, 15]),
                (Rule::OneToMany, true, vec![5, 6], vec![16]),
            ],
            "and line 7 and entry 17 are too far apart"
        );
    }

    #[test]
    fn references_are_whole_words() {
        for (text, due) in [
            ("1001", true),
            ("Order 1001.", true),
            ("order\n1001\nx", true),
            ("#1001, paid", true),
            ("ref:1001 (again)", true),
            ("210013 and 1001", true),
            ("Order 210013 of another customer", false),
            ("10012", false),
            ("RE-1001", false),
            ("1001/7", false),
            ("1001.7", false),
            ("_1001é", false),
        ] {
            assert_eq!(names(text, "1001"), due, "{text}");
        }
        assert!(names("pay order-42", "order-42") && !names("pay order-42-1", "order-42"));
        assert!(names("(order-)", "order-") && names("é 1001 é", "1001"));
        // What is not its reference may still be its amount, if the day fits.
        let line = [item(1, 20, 2000, "1001")];
        assert!(told(&line, &[item(11, 1, 2000, "Order 210013 of another customer")]).is_empty());
    }

    #[test]
    fn what_could_be_another_is_only_proposed() {
        let lines = [item(1, 5, 100, ""), item(2, 5, 100, "")];
        let entries = [item(11, 5, 100, ""), item(12, 6, 100, ""), item(13, 7, -100, "")];
        assert_eq!(
            told(&lines, &entries),
            [(Rule::Exact, false, vec![1], vec![11]), (Rule::Window, false, vec![2], vec![12])]
        );
        // Two ways to come to the same sum.
        let found = told(
            &[item(1, 5, 50, "")],
            &[item(11, 5, 20, ""), item(12, 5, 30, ""), item(13, 5, 30, "")],
        );
        assert_eq!(found, [(Rule::ManyToOne, false, vec![1], vec![11, 12])]);
    }

    #[test]
    fn a_group_that_fits_two_is_not_sure_of_one() {
        let pair = [item(11, 5, 60, ""), item(12, 5, 40, "")];
        // Two lines fit the same entries, and two entries the same lines.
        let two = [item(1, 5, 100, ""), item(2, 6, 100, "")];
        assert_eq!(told(&two, &pair), [(Rule::ManyToOne, false, vec![1], vec![11, 12])]);
        assert_eq!(told(&pair, &two), [(Rule::OneToMany, false, vec![11, 12], vec![1])]);
        // One entry of the group could be another's.
        let found = told(
            &[item(1, 5, 100, ""), item(2, 5, 90, "")],
            &[item(11, 5, 60, ""), item(12, 5, 40, ""), item(13, 5, 30, "")],
        );
        assert_eq!(found, [(Rule::ManyToOne, false, vec![1], vec![11, 12])]);
        // A member is another line's too, of which there are two.
        let found = told(&[item(1, 5, 100, ""), item(2, 5, 60, ""), item(3, 5, 60, "")], &pair);
        assert_eq!(found, [(Rule::ManyToOne, false, vec![1], vec![11, 12])]);
        // The line is as much as either of two entries.
        let found = told(
            &[item(1, 5, 100, "")],
            &[pair[0].clone(), pair[1].clone(), item(13, 5, 100, ""), item(14, 5, 100, "")],
        );
        assert_eq!(found[0], (Rule::ManyToOne, false, vec![1], vec![11, 12]));
        // What does not touch the others is sure all the same.
        let apart = [item(1, 5, 100, ""), item(2, 20, 100, "")];
        assert_eq!(told(&apart, &pair), [(Rule::ManyToOne, true, vec![1], vec![11, 12])]);
    }

    #[test]
    fn nothing_is_sure_near_what_was_left_out() {
        let items = |from: i64| [item(from, 5, 100, ""), item(from + 1, 9, 200, "")];
        let through = Some(jiff::civil::date(2026, 1, 5));
        let found = propose(&items(1), &items(11), Rules::default(), through);
        let found: Vec<_> = found.proposals.iter().map(|one| (one.sure, one.lines[0])).collect();
        assert_eq!(found, [(false, 1), (true, 2)]);
    }

    #[test]
    fn a_crowd_leaves_no_group_sure_of_what_it_may_want() {
        let mut entries: Vec<Item> = (100..140).map(|id| item(id, 5, 7, "")).collect();
        entries.extend([item(11, 5, 60, ""), item(12, 8, 41, "")]);
        // The first is a group of two that are near the second, which has too many near it to look at.
        let lines = [item(1, 10, 101, ""), item(2, 5, 99, "")];
        let found = told(&lines, &entries);
        assert!(found.iter().all(|(.., lines, _)| lines != &[2]), "{found:?}");
        let found: Vec<_> = found.iter().filter(|(.., lines, _)| lines == &[1]).collect();
        assert!(found.is_empty() || !found[0].1, "{found:?}");
    }

    #[test]
    fn what_is_not_searched_is_said() {
        let searched = |lines: &[Item], entries: &[Item]| {
            propose(lines, entries, Rules::default(), None).not_searched
        };
        // Twenty are looked through, and nothing comes to the sum; among 25 nobody looks.
        let entries: Vec<Item> = (100..125).map(|id| item(id, 5, 7, "")).collect();
        let line = [item(1, 5, 50, "")];
        assert_eq!(searched(&line, &entries[5..]), NotSearched::default());
        let of_lines = NotSearched { lines: vec![1], lines_in_all: 1, ..NotSearched::default() };
        assert_eq!(searched(&line, &entries), of_lines);
        // The other way round it is the entry.
        let entry = NotSearched { entries: vec![1], entries_in_all: 1, ..NotSearched::default() };
        assert_eq!(searched(&entries, &line), entry);
        // One that is suggested by another rule is not missing.
        let mut twice = entries.clone();
        twice.extend([item(11, 6, 50, ""), item(12, 6, 50, "")]);
        assert_eq!(searched(&line, &twice), NotSearched::default());
        // Sums that are near one another take more steps than a search may have.
        let rules = Rules { group_max: 8, ..Rules::default() };
        let near: Vec<Item> = (0..24).map(|n| item(100 + n, 5, 100_000 + 2 * n, "")).collect();
        let odd = [item(1, 5, 800_101, "")];
        assert_eq!(propose(&odd, &near, rules, None).not_searched, of_lines);
    }

    #[test]
    fn of_very_many_that_are_not_searched_the_first_are_named() {
        let entries: Vec<Item> = (100..125).map(|id| item(id, 5, 7, "")).collect();
        let lines: Vec<Item> = (1000..3000).map(|id| item(id, 5, 50, "")).collect();
        let told = propose(&lines, &entries, Rules::default(), None).not_searched;
        assert_eq!((told.lines_in_all, told.lines), (2000, (1000..2000).collect()));
    }

    #[test]
    fn very_many_alike_are_looked_at_in_no_time() {
        let many = |from: i64, text: &str| -> Vec<Item> {
            (0..20_000_i64)
                .map(|n| item(from + n, i8::try_from(n % 28).unwrap() + 1, 999, text))
                .collect()
        };
        let (lines, entries) = (many(0, "card-1001"), many(100_000, "paid by card-1001"));
        let found = propose(&lines, &entries, Rules::default(), None).proposals;
        assert!(found.iter().all(|one| !one.sure && one.lines.len() == 1));
        assert_eq!(found.len(), 20_000);
    }

    proptest! {
        #[test]
        fn proposals_come_out_even_and_share_nothing(
            lines in prop::collection::vec((1..28_i8, -9..9_i64), 0..30),
            entries in prop::collection::vec((1..28_i8, -9..9_i64), 0..30),
        ) {
            let items = |many: &[(i8, i64)]| -> Vec<Item> {
                (1..).zip(many).map(|(id, (day, minor))| item(id, *day, *minor, "")).collect()
            };
            let (lines, entries) = (items(&lines), items(&entries));
            let sum = |ids: &[i64], of: &[Item]| -> i64 {
                ids.iter().map(|id| of[usize::try_from(*id).unwrap() - 1].minor).sum()
            };
            let (mut seen_lines, mut seen_entries) = (BTreeSet::new(), BTreeSet::new());
            for proposal in propose(&lines, &entries, Rules::default(), None).proposals {
                prop_assert_eq!(sum(&proposal.lines, &lines), sum(&proposal.entries, &entries));
                prop_assert!(proposal.lines.iter().all(|id| seen_lines.insert(*id)));
                prop_assert!(proposal.entries.iter().all(|id| seen_entries.insert(*id)));
            }
        }
    }
}
