//! Deploying: change sets wave by wave, followed event by event until every stack is done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::order::Waves;
use super::show::Show;
use super::{policy, told};
use crate::cloud::{Cloud, CloudError, Parameter, Proposal, ProposedChange, StackState};
use crate::difference::guard;
use crate::signals::StopSignals;
use crate::template::Template;

/// After this a change set that is not ready counts as stuck.
const READY_MAX: Duration = Duration::from_secs(600);

/// Why a deployment ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error(transparent)]
    Cloud(#[from] CloudError),
    #[error("{0}")]
    Refused(String),
    /// The stacks that failed, each told already.
    #[error("{} failed; what was changed in it was taken back as far as CloudFormation could", .0.join(" and "))]
    Failed(Vec<String>),
    #[error("stopped; what was under way was taken back")]
    Stopped,
}

/// What a deployment is given.
pub struct Deployment<'a> {
    pub cloud: &'a Cloud,
    pub templates: &'a [Template],
    pub tags: &'a BTreeMap<String, String>,
    /// The bucket of releases, for templates too large to be handed over.
    pub bucket: &'a str,
    /// Values of parameters: the release and its sums.
    pub parameters: &'a BTreeMap<String, BTreeMap<String, String>>,
    pub allowed: &'a [String],
    /// Between two looks.
    pub look: Duration,
}

impl Deployment<'_> {
    /// Makes, changes and deletes stacks, wave by wave.
    pub async fn run(
        &self,
        waves: &Waves,
        signals: &mut StopSignals,
        show: &Show,
    ) -> Result<(), DeployError> {
        for wave in waves {
            let mut begun = Vec::new();
            let all_begun = self.begin_all(wave, &mut begun, signals, show).await;
            // What was set going is followed, whatever kept the rest of its wave from it.
            let followed = self.follow(&begun, signals, show).await;
            let closed = self.close(wave).await;
            all_begun.and(followed).and(closed)?;
            for (name, _) in &begun {
                if self.templates.iter().any(|it| it.name == *name) {
                    self.cloud.protect(name, true).await?;
                }
            }
        }
        Ok(())
    }

    async fn begin_all(
        &self,
        wave: &[String],
        begun: &mut Vec<(String, i64)>,
        signals: &mut StopSignals,
        show: &Show,
    ) -> Result<(), DeployError> {
        for name in wave {
            let template = self.templates.iter().find(|it| it.name == *name);
            let since = match template {
                Some(template) => self.begin(template, signals, show).await?,
                None => Some(self.begin_deletion(name, signals, show).await?),
            };
            begun.extend(since.map(|since| (name.clone(), since)));
        }
        Ok(())
    }

    /// Has the policies of a wave's stacks forbid again what was allowed, whatever came of the wave. The first error is
    /// told, after the others have been tried.
    async fn close(&self, wave: &[String]) -> Result<(), DeployError> {
        let mut closed = Ok(());
        for template in self.templates.iter().filter(|it| wave.contains(&it.name)) {
            let guarded = match self.cloud.stack(&template.name).await {
                Ok(Some(stack)) if !stack.is_empty_shell() => {
                    self.cloud.guard(&template.name, &policy::of(template, &[])).await
                }
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            closed = closed.and(guarded.map_err(DeployError::from));
        }
        closed
    }

    pub(super) async fn follow(
        &self,
        stacks: &[(String, i64)],
        signals: &mut StopSignals,
        show: &Show,
    ) -> Result<(), DeployError> {
        Follow { cloud: self.cloud, look: self.look }.to_the_end(stacks, signals, show).await
    }

    /// Sets a stack's change going; the time from which its events count, or none when CloudFormation
    /// finds nothing to change.
    async fn begin(
        &self,
        template: &Template,
        signals: &mut StopSignals,
        show: &Show,
    ) -> Result<Option<i64>, DeployError> {
        let name = &template.name;
        let mut state = self.cloud.stack(name).await?;
        if let Some(stack) = state.as_ref().filter(|stack| stack.is_busy()) {
            let message = format!("{name} is busy: {}; wait until that is done", stack.status);
            return Err(DeployError::Refused(message));
        }
        if state.as_ref().is_some_and(|stack| stack.status == "UPDATE_ROLLBACK_FAILED") {
            let message =
                format!("{name} could not be taken back; `forebay resume` goes on with it");
            return Err(DeployError::Refused(message));
        }
        if state.as_ref().is_some_and(StackState::is_empty_shell) {
            show.say(&format!("{name} was never made whole: its shell is deleted first"));
            show.begin(name, "its shell is deleted");
            let since = self.delete(name).await?;
            self.follow(&[(name.clone(), since)], signals, show).await?;
            state = None;
        }
        let body = template.to_hand_over();
        let proposal = self.proposal(template, &body, state.as_ref())?;
        if state.is_some() {
            self.cloud.guard(name, &policy::of(template, self.allowed)).await?;
        }
        let begun = self.change(&proposal, show).await?;
        if begun.is_none() {
            show.say(&format!("{name}: nothing to change"));
            show.end(name, true, "nothing to change");
        }
        Ok(begun)
    }

    /// What is proposed for a stack that is as `state` says, or is yet to be made.
    pub(super) fn proposal<'p>(
        &'p self,
        template: &'p Template,
        body: &'p str,
        state: Option<&StackState>,
    ) -> Result<Proposal<'p>, DeployError> {
        Ok(Proposal {
            stack: &template.name,
            body,
            bucket: self.bucket,
            new: state.is_none(),
            parameters: self.parameters_of(template, state)?,
            tags: self.tags,
        })
    }

    /// A change set, and its changes once it is made; none when there is nothing to change.
    pub(super) async fn proposed(
        &self,
        of: &Proposal<'_>,
    ) -> Result<(String, Option<Vec<ProposedChange>>), DeployError> {
        let id = self.cloud.propose(&change_set_name(), of).await?;
        let changes = self.ready(of.stack, &id).await?;
        Ok((id, changes))
    }

    /// Proposes a change set, looks what CloudFormation makes of it, and sets it going.
    pub(super) async fn change(
        &self,
        of: &Proposal<'_>,
        show: &Show,
    ) -> Result<Option<i64>, DeployError> {
        let name = of.stack;
        show.begin(name, "a change set is made");
        let (id, changes) = self.proposed(of).await?;
        let Some(changes) = changes else {
            self.cloud.withdraw(name, &id).await?;
            return Ok(None);
        };
        let lost: Vec<&str> = changes
            .iter()
            .filter(|change| guard::holds_data(&change.kind))
            .filter(|change| change.replacement == "True" || change.action == "Remove")
            .filter(|change| !guard::is_allowed(self.allowed, name, &change.id))
            .map(|change| change.id.as_str())
            .collect();
        if let Some(first) = lost.first() {
            self.cloud.withdraw(name, &id).await?;
            return Err(DeployError::Refused(format!(
                "CloudFormation would replace or delete what holds data in {name}: {}. If that is \
                 meant: --allow-replacement {first}",
                lost.join(", ")
            )));
        }
        show.expect(name, changes.len());
        // A second back: the clock here may be ahead of AWS's.
        let since = now() - 1_000;
        self.cloud.execute(name, &id).await?;
        Ok(Some(since))
    }

    /// Values for the template's parameters: those given, else those the stack has.
    fn parameters_of(
        &self,
        template: &Template,
        state: Option<&StackState>,
    ) -> Result<BTreeMap<String, Parameter>, DeployError> {
        let given = self.parameters.get(template.stack.word());
        let mut values = BTreeMap::new();
        for key in template.parameters.keys() {
            let value = given.and_then(|given| given.get(key));
            let kept = state.is_some_and(|state| state.parameters.contains_key(key));
            let value = match value {
                Some(value) => Parameter::Value(value.clone()),
                None if kept => Parameter::Kept,
                None => {
                    return Err(DeployError::Refused(format!(
                        "{} has no release yet: say which with --release VERSION --binaries DIR",
                        template.name
                    )));
                }
            };
            values.insert(key.clone(), value);
        }
        Ok(values)
    }

    /// The changes of a change set once it is made; none when there is nothing to change.
    async fn ready(
        &self,
        name: &str,
        id: &str,
    ) -> Result<Option<Vec<ProposedChange>>, DeployError> {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < READY_MAX {
            let (status, reason, changes) = self.cloud.proposed(name, id).await?;
            match status.as_str() {
                "CREATE_COMPLETE" => return Ok(Some(changes)),
                "FAILED" if is_nothing(&reason) => return Ok(None),
                "FAILED" => {
                    let _ = self.cloud.withdraw(name, id).await;
                    return Err(DeployError::Refused(format!("{name}: {reason}")));
                }
                _ => tokio::time::sleep(self.look).await,
            }
        }
        let _ = self.cloud.withdraw(name, id).await;
        Err(DeployError::Refused(format!("{name}: its change set is not ready after ten minutes")))
    }
}

/// CloudFormation says in words that there is nothing to do.
fn is_nothing(reason: &str) -> bool {
    reason.contains("didn't contain changes") || reason.contains("No updates are to be performed")
}

/// Each deployment has change sets of its own.
fn change_set_name() -> String {
    format!("forebay-{}", now())
}

pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Follows stacks until nothing is done to them any more.
pub struct Follow<'a> {
    pub cloud: &'a Cloud,
    pub look: Duration,
}

impl Follow<'_> {
    /// Each stack with the time from which its events count. A stack that fails is an error, and its
    /// cause is said first.
    pub async fn to_the_end(
        &self,
        stacks: &[(String, i64)],
        signals: &mut StopSignals,
        show: &Show,
    ) -> Result<(), DeployError> {
        let mut failed = Vec::new();
        self.until_still(stacks, signals, show, &mut failed).await?;
        if failed.is_empty() {
            return Ok(());
        }
        failed.iter().for_each(|(name, state)| show.say(&told::where_it_stands(name, state)));
        Err(DeployError::Failed(failed.into_iter().map(|(name, _)| name).collect()))
    }

    /// Follows until nothing is being done; stacks that did not come out as asked are in `failed`. The
    /// first signal takes updates back, and the following goes on; a second one ends it.
    pub async fn until_still(
        &self,
        stacks: &[(String, i64)],
        signals: &mut StopSignals,
        show: &Show,
        failed: &mut Vec<(String, StackState)>,
    ) -> Result<(), DeployError> {
        let Some(start) = stacks.iter().map(|(_, since)| *since).min() else { return Ok(()) };
        let mut seen = BTreeSet::new();
        let mut open: Vec<&(String, i64)> = stacks.iter().collect();
        let mut stopping = false;
        loop {
            let mut still = Vec::new();
            for stack in open {
                let (name, since) = stack;
                // The state first: what happens after it is seen in the next look.
                let Some(state) = self.cloud.stack(name).await? else {
                    show.end(name, true, "deleted");
                    continue;
                };
                let found = self.cloud.events(name, *since).await?;
                for event in found.iter().filter(|it| !seen.contains(&it.id)) {
                    show.event(event, start);
                }
                seen.extend(found.iter().map(|event| event.id.clone()));
                if state.is_busy() {
                    still.push(stack);
                    continue;
                }
                show.end(name, state.is_well(), &told::status(&state.status));
                if !state.is_well() {
                    if let Some(event) = told::cause(&found) {
                        show.say(&format!(
                            "{name} failed: {} {}: {}",
                            event.kind, event.resource, event.reason
                        ));
                    }
                    failed.push((name.clone(), state));
                }
            }
            open = still;
            if open.is_empty() {
                return if stopping { Err(DeployError::Stopped) } else { Ok(()) };
            }
            tokio::select! {
                () = tokio::time::sleep(self.look) => {}
                _ = signals.next() => {
                    if stopping {
                        return Err(DeployError::Stopped);
                    }
                    stopping = true;
                    self.take_back(&open, show).await?;
                }
            }
        }
    }

    async fn take_back(&self, open: &[&(String, i64)], show: &Show) -> Result<(), DeployError> {
        for (name, _) in open {
            let state = self.cloud.stack(name).await?;
            let status = state.map(|state| state.status).unwrap_or_default();
            if status == "UPDATE_IN_PROGRESS" {
                show.say(&format!("{name}: the update is taken back; Ctrl-C again stops looking"));
                self.cloud.cancel(name).await?;
            } else {
                show.say(&format!(
                    "{name}: {status} cannot be taken back; Ctrl-C again stops looking"
                ));
            }
        }
        Ok(())
    }
}
