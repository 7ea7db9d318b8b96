//! What people type, and the exit codes.

mod check;
mod cost;
mod deploy;
mod destroy;
mod docs;
mod doctor;
mod down;
mod drift;
mod estate;
mod events;
mod explain;
mod graph;
mod init;
mod look;
mod pipeline;
mod plan;
mod resume;
mod status;
mod synth;
mod templates;
mod up;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use proxy_config::Problems;

use crate::state::StateFolder;

const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  failed, or running but not healthy (status), or running already (up)
   2  wrong usage
  65  the environment file is wrong; every problem is told at its place
  69  not available: a program is missing, or the environment is not running (status)";

const STATUS_JSON: &str = "\
The JSON of `-o json` is one object; keys are added to it, never renamed:
  name, environment, state_dir, logs   text
  running                              true or false
  stage                                starting, running, stopping or stopped
  pid, started_at                      of the supervisor; null when not running
  urls                                 page, playlist (playlist_NAME for every further stream),
                                       ledger, ledger_docs, ledger_openapi, ledger_books,
                                       trial_balance,
                                       proxy_metrics, ledger_metrics, proxy_admin, ledger_admin
  children                             a list of {name, pid, state, healthy, restarts, since,
                                       problem}; state is starting, healthy, failing, waiting or
                                       stopped
  ports_moved                          a list of {what, wanted, used}
  notes                                what is missing, and what was done instead
Exit codes: 0 all healthy, 1 degraded or starting, 69 not running.";

/// Run an environment, the one its file describes: proxy, ledger, live stream.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check an environment file; tells every problem at its place
    Check(Check),
    /// Write the CloudFormation templates of an environment, checked offline
    Synth(Synth),
    /// Tell what deploying would change, resource by resource, and what each change does
    #[command(after_long_help = plan::PLAN_JSON)]
    Plan(plan::Plan),
    /// Estimate what an environment costs a month, and what a change of it would
    #[command(after_long_help = cost::COST_JSON)]
    Cost(cost::Cost),
    /// Make an environment's stacks as the file says, and follow it event by event
    Deploy(deploy::Deploy),
    /// Tell what happened to the stacks, as lines or as a chart
    Events(events::Events),
    /// Tell what somebody changed beside the templates
    Drift(drift::Drift),
    /// Go on with a rollback that failed
    Resume(resume::Resume),
    /// Delete the stacks; what holds data stays unless it is named
    Destroy(destroy::Destroy),
    /// Look at what a deployment needs: credentials, account, quotas, images, archives, templates, stacks
    Doctor(doctor::Doctor),
    /// Print a pipeline file that checks, plans with a comment, and deploys
    Pipeline(pipeline::Pipeline),
    /// Tell where a value comes from and why, or what a resource is for
    Explain(explain::Explain),
    /// Draw an environment: zones, tiers, who may talk to whom, the way of a request
    Graph(graph::Graph),
    /// Start an environment here, in the foreground, until Ctrl-C or `forebay down`
    Up(Up),
    /// Show every URL, and each child's state, restarts and age
    #[command(after_long_help = STATUS_JSON)]
    Status(Status),
    /// Drain and stop an environment
    Down(Down),
    /// Write a first environment file: commented, for this machine, or made of answers, for AWS
    Init(init::Init),
    /// Print the JSON Schema of environment files, for editors
    Schema,
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages
    Man {
        /// The folder to write them into; it is made if missing
        folder: PathBuf,
    },
    /// Serve live segments and the stream page (started by `up`)
    #[command(hide = true)]
    Origin {
        #[arg(long)]
        directory: PathBuf,
        #[arg(long)]
        listen: SocketAddr,
    },
}

/// The environment file a command is about.
#[derive(Debug, Args)]
struct EnvironmentFile {
    /// The environment file [default: environments/local.yaml, else forebay.yaml]
    environment: Option<PathBuf>,
}

/// The environment file and where its runs keep their state.
#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    file: EnvironmentFile,
    /// Where the run keeps its files [default: .forebay/NAME beside NAME.yaml]
    #[arg(long, value_name = "DIR", env = "FOREBAY_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// For programs; the keys are stable
    Json,
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    file: EnvironmentFile,
    /// How to print the result
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
struct Synth {
    #[command(flatten)]
    file: EnvironmentFile,
    /// The folder to write `network.json`, `data.json`, … and `stacks.json` into
    #[arg(short = 'o', long = "output", value_name = "DIR", default_value = "stacks")]
    folder: PathBuf,
}

#[derive(Debug, Args)]
struct Up {
    #[command(flatten)]
    place: Place,
    /// Which ports to use
    #[arg(long, value_enum, default_value_t)]
    ports: PortChoice,
    /// The ffmpeg that makes the live streams [default: the one on PATH]
    #[arg(long, value_name = "PATH", env = "FOREBAY_FFMPEG")]
    ffmpeg: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum PortChoice {
    /// Those of the environment file; where one is taken, the next free one
    #[default]
    Wished,
    /// Any free ones
    Auto,
}

#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    place: Place,
    /// The stacks on AWS instead of the run on this machine
    #[arg(long, conflicts_with = "output")]
    aws: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
struct Down {
    #[command(flatten)]
    place: Place,
    /// Also delete what the ledger holds, and the logs
    #[arg(long)]
    delete_data: bool,
}

/// Why a command did not do what was asked; each kind has its exit code.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// 65.
    #[error("{0}")]
    Document(Problems),
    /// 69.
    #[error("{0}")]
    Unavailable(String),
    /// 65, and everything was said already.
    #[error("")]
    ToldDocument,
    /// 1, and everything was said already.
    #[error("")]
    Told,
    /// 69, and everything was said already.
    #[error("")]
    ToldUnavailable,
    /// 1.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Document(problems)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Document(_) | Self::ToldDocument => 65,
            Self::Unavailable(_) | Self::ToldUnavailable => 69,
            Self::Told | Self::Failed(_) => 1,
        }
    }
}

/// The command line of `forebay`, for completions and man pages too.
pub fn command_line() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Reads the command line, runs the command, tells failures on stderr.
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.to_string();
            if !text.is_empty() {
                let prefix = if matches!(failure, Failure::Document(_)) { "" } else { "forebay: " };
                let _ = writeln!(std::io::stderr(), "{prefix}{}", text.trim_end());
            }
            ExitCode::from(failure.code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(asked) => check::run(&asked),
        Command::Synth(asked) => synth::run(&asked),
        Command::Plan(asked) => plan::run(&asked),
        Command::Cost(asked) => cost::run(&asked),
        Command::Deploy(asked) => deploy::run(&asked),
        Command::Events(asked) => events::run(&asked),
        Command::Drift(asked) => drift::run(&asked),
        Command::Resume(asked) => resume::run(&asked),
        Command::Destroy(asked) => destroy::run(&asked),
        Command::Doctor(asked) => doctor::run(&asked),
        Command::Pipeline(asked) => pipeline::run(&asked),
        Command::Explain(asked) => explain::run(&asked),
        Command::Graph(asked) => graph::run(&asked),
        Command::Up(asked) => up::run(&asked),
        Command::Status(asked) => status::run(&asked),
        Command::Down(asked) => down::run(&asked),
        Command::Init(asked) => init::run(&asked),
        Command::Schema => docs::schema(),
        Command::Completions { shell } => docs::completions(shell),
        Command::Man { folder } => docs::man(&folder),
        Command::Origin { directory, listen } => origin(directory, listen),
    }
}

fn origin(directory: PathBuf, listen: SocketAddr) -> Result<(), Failure> {
    let served = runtime()?.block_on(crate::origin::serve(directory, listen));
    served.map_err(|error| Failure::Unavailable(format!("origin at {listen}: {error}")))
}

/// One thread: children must be started by the thread that lives as long as the process, because
/// their death signal is tied to it.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

impl EnvironmentFile {
    fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.environment {
            return Ok(path.clone());
        }
        let defaults = ["environments/local.yaml", "forebay.yaml"];
        defaults.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            Failure::Unavailable(format!(
                "there is neither {} nor {} here; name the environment file, or write one with \
                 `forebay init`",
                defaults[0], defaults[1]
            ))
        })
    }
}

impl Place {
    fn state(&self, environment: &Path) -> Result<StateFolder, Failure> {
        Ok(StateFolder::of(environment, self.state_dir.as_deref())?)
    }
}

/// Prints a line at once. A reader that went away is no reason to stop what runs.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
