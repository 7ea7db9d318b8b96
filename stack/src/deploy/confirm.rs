//! Asking CloudFormation what it would do, and having it do nothing: change sets that are made, read and
//! withdrawn.

use super::run::{DeployError, Deployment};
use crate::cloud::CloudError;
use crate::difference::confirmed::{Confirmed, disagreements};
use crate::difference::{Difference, StackAction};
use crate::template::Template;

impl Deployment<'_> {
    /// What CloudFormation says of each stack that would change. Of one that is yet to be made there is
    /// nothing it could be held against.
    pub async fn confirm(&self, difference: &Difference) -> Result<Vec<Confirmed>, DeployError> {
        let mut all = Vec::new();
        for foretold in &difference.stacks {
            let template = self.templates.iter().find(|it| it.name == foretold.name);
            let (StackAction::Update, Some(template)) = (foretold.action, template) else {
                continue;
            };
            let stack = foretold.name.clone();
            all.push(match self.asked(template).await {
                Ok(changes) => {
                    let disagreements = disagreements(foretold, &changes);
                    Confirmed { stack, unsaid: None, disagreements }
                }
                // What a stack before it does not export yet, a busy stack, a parameter without a value.
                Err(DeployError::Refused(why)) => {
                    Confirmed { stack, unsaid: Some(why), disagreements: Vec::new() }
                }
                Err(DeployError::Cloud(CloudError::Refused { code, message, .. }))
                    if code == "ValidationError" =>
                {
                    Confirmed { stack, unsaid: Some(message), disagreements: Vec::new() }
                }
                Err(error) => return Err(error),
            });
        }
        Ok(all)
    }

    async fn asked(
        &self,
        template: &Template,
    ) -> Result<Vec<crate::cloud::ProposedChange>, DeployError> {
        let name = &template.name;
        let state = self.cloud.stack(name).await?;
        let body = template.to_hand_over();
        let proposal = self.proposal(template, &body, state.as_ref())?;
        let (id, changes) = self.proposed(&proposal).await?;
        self.cloud.withdraw(name, &id).await?;
        Ok(changes.unwrap_or_default())
    }
}
