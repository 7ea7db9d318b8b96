//! The section `backup`: what its types cannot say, and whether it has anything to back up.

use proxy_config::{Problem, Tree};

use super::{DAY_MS, Fault, fault, is_region};
use crate::environment::Document;
use crate::environment::aws::{Aws, Backup};

pub(super) fn faults(backup: &Backup) -> Vec<Fault> {
    let mut faults = Vec::new();
    let kept = [("daily", Some(backup.daily), 1, 365), ("monthly", backup.monthly, 90, 3650)];
    for (key, time, min, max) in kept {
        let Some(time) = time else { continue };
        let ms = time.as_millis();
        if !(min * DAY_MS..=max * DAY_MS).contains(&ms) || !ms.is_multiple_of(DAY_MS) {
            let message = format!("snapshots cannot be kept for {time}");
            faults.push(fault(key, message, &format!("write whole days, {min}d to {max}d")));
        }
    }
    if let Some(vault) = &backup.copy_to {
        let parts: Vec<&str> = vault.split(':').collect();
        let named = parts.len() == 7 && parts[5] == "backup-vault" && !parts[6].is_empty();
        if !named || parts[..3] != ["arn", "aws", "backup"] || !is_region(parts[3]) {
            let message = format!("`{vault}` is not the ARN of a vault");
            let hint = "`arn:aws:backup:eu-west-1:123456789012:backup-vault:forebay`";
            faults.push(fault("copy_to", message, hint));
        }
    }
    faults
}

/// A plan without anything to back up, or whose copies would be where they may not be, or at home.
pub(super) fn of_something(tree: &Tree, aws: &Aws, document: &Document) -> Vec<Problem> {
    let Some(backup) = &document.backup else { return Vec::new() };
    let mut problems = Vec::new();
    if document.database.is_none() && document.databases.is_empty() {
        let problem =
            Problem::new("backup", tree.place_of("backup"), "there is no database to back up");
        problems.push(problem.hint("leave it out"));
    }
    let region = backup.copy_to.as_deref().and_then(|vault| vault.split(':').nth(3));
    if let Some(region) = region {
        let message = if region == aws.region {
            "the copies would be in the region whose loss they are for".to_owned()
        } else if !aws.regions.is_empty() && !aws.regions.iter().any(|it| it == region) {
            format!("`{region}` is not one of `aws.regions`")
        } else {
            return problems;
        };
        let problem = Problem::new("backup.copy_to", tree.place_of("backup.copy_to"), message);
        problems.push(problem.hint("name a vault in another region, one that is allowed"));
    }
    problems
}
