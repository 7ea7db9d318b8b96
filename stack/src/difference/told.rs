//! A difference as people read it.

use std::fmt::Write;

use serde_json::Value;

use super::effect::Effect;
use super::{Difference, PropertyChange, StackAction};

/// Longest text of one value; the whole of it is in `-o json`.
const VALUE_MAX: usize = 60;

/// A heading for each stack that changes, a line for each resource, and one for each property of
/// what is changed in place or replaced.
pub fn text(difference: &Difference) -> String {
    let mut text = String::new();
    for stack in &difference.stacks {
        let action = match stack.action {
            StackAction::None => continue,
            StackAction::Create => "is made",
            StackAction::Update => "is updated",
            StackAction::Delete => "is deleted",
        };
        let _ = writeln!(text, "{} {action}", stack.name);
        for change in &stack.resources {
            let sign = match change.effect {
                Effect::Create => '+',
                Effect::Delete | Effect::Release => '-',
                Effect::Replacement | Effect::Impossible => '!',
                _ => '~',
            };
            let data = if change.holds_data && change.effect >= Effect::Replacement {
                ", holds data"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "  {sign} {:<30} {:<46} {}{data}",
                change.id,
                change.kind,
                change.effect.word()
            );
            for property in &change.properties {
                let _ = writeln!(text, "      {}", line(property));
            }
        }
        if stack.resources.is_empty() {
            let _ = writeln!(text, "  ~ outputs, parameters or description only");
        }
    }
    let _ = write!(text, "{}", summary(difference));
    text
}

fn line(property: &PropertyChange) -> String {
    let mut line = property.path.clone();
    match (&property.before, &property.after) {
        (Some(before), Some(after)) => {
            let _ = write!(line, ": {} → {}", short(before), short(after));
        }
        (Some(before), None) => {
            let _ = write!(line, ": {} → nothing", short(before));
        }
        (None, Some(after)) => {
            let _ = write!(line, ": {}", short(after));
        }
        (None, None) => {}
    }
    if property.effect != Effect::None {
        let _ = write!(line, "  ({})", property.effect.word());
    }
    if let Some(because) = &property.because {
        let _ = write!(line, "  {because}");
    }
    line
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= VALUE_MAX {
        return text;
    }
    format!("{}…", text.chars().take(VALUE_MAX).collect::<String>())
}

/// `2 created, 1 in place`, or that there is nothing to do.
pub fn summary(difference: &Difference) -> String {
    const ALL: [Effect; 9] = [
        Effect::Create,
        Effect::InPlace,
        Effect::Rolling,
        Effect::Interruption,
        Effect::Impossible,
        Effect::Replacement,
        Effect::Delete,
        Effect::Release,
        Effect::None,
    ];
    if difference.is_empty() {
        return "nothing to change".to_owned();
    }
    let changes: Vec<Effect> = difference
        .stacks
        .iter()
        .flat_map(|stack| stack.resources.iter().map(|change| change.effect))
        .collect();
    let count = |effect: Effect| changes.iter().filter(|other| **other == effect).count();
    let counted = ALL.iter().map(|effect| (count(*effect), effect.word()));
    let told: Vec<String> =
        counted.filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    if told.is_empty() { "no resource changes".to_owned() } else { told.join(", ") }
}
