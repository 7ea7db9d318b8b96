//! `forebay pipeline`: a pipeline file that checks, plans and deploys an environment.

use clap::{Args, ValueEnum};

use super::{EnvironmentFile, Failure, say, synth};

const GITHUB: &str = include_str!("../../../templates/pipeline/github.yml");
const GITLAB: &str = include_str!("../../../templates/pipeline/gitlab.yml");

#[derive(Debug, Args)]
pub(super) struct Pipeline {
    /// Whose pipelines it is for
    #[arg(value_enum)]
    kind: Kind,
    #[command(flatten)]
    file: EnvironmentFile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// GitHub Actions: `.github/workflows/forebay.yml`
    Github,
    /// GitLab CI: `.gitlab-ci.yml`
    Gitlab,
}

/// Prints it: where it goes is for whoever has a pipeline already to say.
pub(super) fn run(asked: &Pipeline) -> Result<(), Failure> {
    let path = asked.file.path()?;
    let (plan, _) = synth::checked(&path)?;
    let file = path.display().to_string();
    let known = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.is_absolute() || !file.chars().all(known) {
        let message =
            format!("{file} must be a path within the repository, of letters, digits and ./_-");
        return Err(Failure::Failed(anyhow::anyhow!(message)));
    }
    let text = match asked.kind {
        Kind::Github => GITHUB,
        Kind::Gitlab => GITLAB,
    };
    let mut files = vec!["forebay", "forebay-proxy"];
    if plan.estate.ledger.is_some() {
        files.push("forebay-ledger");
        files.extend(plan.is_isolated().then_some("rds-authorities.pem"));
    }
    let text = text
        .replace("ENVIRONMENT_FILE", &file)
        .replace("ENVIRONMENT_NAME", &plan.name)
        .replace("ENVIRONMENT_REGION", &plan.aws().region)
        .replace("ENVIRONMENT_RELEASES", &plan.aws().releases)
        .replace("RELEASE_FILES", &files.join(" "));
    say(text.trim_end());
    Ok(())
}
