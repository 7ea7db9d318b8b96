//! What the commands about AWS share: the file's templates, and the connection to its account.

use super::{EnvironmentFile, Failure, synth};
use crate::cloud::{Cloud, StackState};
use crate::difference::Held;
use crate::estate::EstatePlan;
use crate::template::{Stack, Template};

/// An environment file's plan, its templates, and CloudFormation in its account and region.
pub(super) struct OnAws {
    pub plan: EstatePlan,
    pub templates: Vec<Template>,
    pub cloud: Cloud,
}

impl OnAws {
    pub async fn of(file: &EnvironmentFile) -> Result<Self, Failure> {
        let (plan, templates) = synth::checked(&file.path()?)?;
        let aws = plan.aws();
        let cloud = Cloud::checked(&aws.region, &aws.account).await.map_err(failed)?;
        Ok(Self { plan, templates, cloud })
    }

    /// Every name a stack of this environment can have.
    pub fn names(&self) -> Vec<String> {
        Stack::ALL.iter().map(|stack| format!("{}-{}", self.plan.name, stack.word())).collect()
    }

    /// The stacks that exist.
    pub async fn states(&self) -> Result<Vec<StackState>, Failure> {
        self.cloud.stacks(&self.names()).await.map_err(failed)
    }

    /// The stacks that hold something, with their templates. A shell holds nothing.
    pub async fn held(&self) -> Result<Vec<Held>, Failure> {
        let mut held = Vec::new();
        for state in self.states().await?.into_iter().filter(|state| !state.is_empty_shell()) {
            held.push(self.cloud.template(&state.name).await.map_err(failed)?);
        }
        Ok(held)
    }
}

pub(super) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Failed(error.into())
}
