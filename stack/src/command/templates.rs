//! What the commands share on the way from an environment's file to its templates.

use std::path::Path;

use proxy_config::{Problem, Problems};

use super::Failure;
use crate::check::{self, Finding};
use crate::document::{self, Loaded};
use crate::environment::Environment;
use crate::estate::{self, EstatePlan};
use crate::template::{self, Template};
use crate::validate;

/// A file, what it says, and what it becomes on AWS; no plan and no templates without an `aws`
/// section.
pub(super) struct Made {
    pub loaded: Loaded,
    pub environment: Environment,
    pub plan: Option<EstatePlan>,
    pub templates: Vec<Template>,
}

impl Made {
    pub fn of(path: &Path) -> Result<Made, Failure> {
        let loaded = document::load(path)?;
        let environment = validate::validate(&loaded)?;
        let plan = estate::resolve(&environment).map_err(anyhow::Error::from)?;
        let templates = match &plan {
            None => Vec::new(),
            Some(plan) => template::build(plan).map_err(|unfit| {
                let problem = |it: template::by_hand::Unfit| {
                    let place = loaded.tree.place_of(&it.key);
                    Problem::new(it.key, place, it.message).hint(it.hint)
                };
                Problems::new(&loaded.tree, unfit.into_iter().map(problem).collect())
            })?,
        };
        Ok(Made { loaded, environment, plan, templates })
    }

    /// What is not known here and may be well all the same.
    pub fn unknown(&self) -> &[String] {
        self.plan.as_ref().map_or(&[], |plan| &plan.unknown)
    }

    /// What the checks find: of what somebody wrote, at its place in the file; the rest as it is.
    pub fn findings(&self) -> (Option<Problems>, Vec<Finding>) {
        let Some(plan) = &self.plan else { return (None, Vec::new()) };
        let mut problems = Vec::new();
        let mut rest = Vec::new();
        for finding in check::all(plan, &self.templates) {
            match self.written_at(&finding.place) {
                Some(key) => {
                    let place = self.loaded.tree.place_of(&key);
                    problems.push(Problem::new(key, place, finding.message));
                }
                None => rest.push(finding),
            }
        }
        let problems = (!problems.is_empty()).then(|| Problems::new(&self.loaded.tree, problems));
        (problems, rest)
    }

    /// The key of the file that made `STACK/ID` what it is.
    fn written_at(&self, place: &str) -> Option<String> {
        let (stack, id) = place.split_once('/')?;
        let keys = ["resources", "patches"].map(|section| format!("{section}.{stack}.{id}"));
        keys.into_iter().find(|key| !id.is_empty() && self.loaded.tree.get(key).is_some())
    }
}
