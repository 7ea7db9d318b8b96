//! `forebay init`: a first environment file, commented for this machine or made of answers for AWS.

use std::fs;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Failure, say};
use crate::starter::{self, Answers, QUESTIONS};
use crate::validate;

/// The file `init` writes for this machine; it passes `forebay check`.
pub(super) const STARTER: &str = include_str!("../../../templates/starter.yaml");

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The folder to write `forebay.yaml` into; it is made if missing
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where the environment is to run [default: asked on a terminal, else this machine]
    #[arg(long = "for", value_enum)]
    target: Option<Target>,
    #[command(flatten)]
    given: Given,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// On this machine
    Here,
    /// On AWS; what no flag says is asked on a terminal
    Aws,
}

/// Answers that need not be asked for. Each means AWS.
#[derive(Debug, Default, Args)]
struct Given {
    /// What the environment is called
    #[arg(long)]
    name: Option<String>,
    /// The account's twelve digits
    #[arg(long)]
    account: Option<String>,
    /// The region
    #[arg(long)]
    region: Option<String>,
    /// The bucket of releases
    #[arg(long)]
    releases: Option<String>,
    /// The name people reach it by
    #[arg(long)]
    domain: Option<String>,
    /// The zone of Route 53 that holds the name
    #[arg(long)]
    hosted_zone: Option<String>,
    /// Where live streams come from: a server and its port
    #[arg(long)]
    origin: Option<String>,
    /// The ledger's database: mysql, mariadb or postgres; none for no ledger
    #[arg(long)]
    database: Option<String>,
    /// production, which survives the loss of a zone, or small, which does not
    #[arg(long)]
    size: Option<String>,
    /// Who is told when something is wrong
    #[arg(long)]
    email: Option<String>,
    /// US dollars a month
    #[arg(long)]
    budget: Option<String>,
}

impl Given {
    fn answers(&self) -> Answers {
        let values = [
            &self.name,
            &self.account,
            &self.region,
            &self.releases,
            &self.domain,
            &self.hosted_zone,
            &self.origin,
            &self.database,
            &self.size,
            &self.email,
            &self.budget,
        ];
        let pairs = QUESTIONS.iter().zip(values);
        pairs.filter_map(|(question, value)| Some((question.flag, value.clone()?))).collect()
    }
}

pub(super) fn run(asked: &Init) -> Result<(), Failure> {
    let path = asked.folder.join("forebay.yaml");
    if path.exists() {
        return Err(there_already(&path));
    }
    let given = asked.given.answers();
    let wrong = QUESTIONS.iter().filter_map(|it| starter::misfit(it, given.get(it.flag)?));
    let wrong: Vec<String> = wrong.collect();
    if !wrong.is_empty() {
        return Err(Failure::Failed(anyhow::anyhow!(wrong.join("\n"))));
    }
    let terminal = std::io::stdin().is_terminal();
    let target = match asked.target {
        Some(target) => target,
        None if !given.is_empty() => Target::Aws,
        None if terminal => where_to()?,
        None => Target::Here,
    };
    if target == Target::Here {
        write(&path, STARTER)?;
        let path = path.display();
        say(&format!(
            "{path} is written. Next: forebay up {path}\n\
             Runs keep their state in .forebay beside it; keep that folder out of version control."
        ));
        return Ok(());
    }
    let answers = if terminal {
        starter::ask(given, &mut std::io::stdin().lock(), &mut std::io::stdout())?
    } else {
        starter::without_asking(given).map_err(|message| anyhow::anyhow!(message))?
    };
    let text = starter::written(&answers).map_err(anyhow::Error::from)?;
    write(&path, &text)?;
    // Answers that fit one by one may not fit together; then nothing was written.
    if let Err(problems) = validate::environment(&path) {
        fs::remove_file(&path)?;
        return Err(problems.into());
    }
    let path = path.display();
    say(&format!("{path} is written. Next: forebay cost {path}, then forebay doctor {path}"));
    Ok(())
}

fn where_to() -> Result<Target, Failure> {
    loop {
        let mut out = std::io::stdout();
        write!(out, "Where is it to run: here, or on aws? [here] ")?;
        out.flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        match answer.trim() {
            "" | "here" => return Ok(Target::Here),
            "aws" => return Ok(Target::Aws),
            _ => say("  write here or aws"),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::File::create_new(path) {
        Ok(mut file) => Ok(file.write_all(text.as_bytes())?),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(there_already(path)),
        Err(error) => Err(error.into()),
    }
}

fn there_already(path: &Path) -> Failure {
    let message = format!("{} is there already and stays as it is", path.display());
    Failure::Failed(anyhow::anyhow!(message))
}
