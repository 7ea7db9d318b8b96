//! `check`, `report`, `convert` and `replay` as people call them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use proxy_config::{Config, Source};

use crate::convert;
use crate::page::page;
use crate::parse::{Parsed, parse_file};
use crate::problem::render;
use crate::replay::requests::{from_log, generated};
use crate::replay::{Programs, stage};
use crate::report::Report;
use crate::table::table;
use crate::traffic::traffic;
use crate::translate::{Translation, translate};
use crate::tree::{Document, walk};

/// Everything was translated, exactly, approximately or harmlessly not.
pub const OK: u8 = 0;
/// Something is unsupported, or a file cannot be read or written.
pub const FAILURE: u8 = 1;
/// nginx would refuse the file.
pub const BAD_DOCUMENT: u8 = 65;

/// Reads nginx.conf and says how exactly Forebay can stand in for nginx.
#[derive(Debug, Parser)]
#[command(name = "forebay-nginx", version, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 something is unsupported or failed, 2 usage, \
                          65 nginx would refuse the file.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what nginx would refuse: syntax, unknown directives, wrong places, wrong arguments.
    Check {
        #[command(flatten)]
        input: Input,
    },
    /// Says of every directive how exactly it is translated.
    Report {
        #[command(flatten)]
        input: Input,
        /// Form of the report.
        #[arg(short, long, value_enum, default_value_t = ReportForm::Table)]
        output: ReportForm,
        /// Access log (request in quotes, as in `combined`) whose requests are counted by how exactly
        /// they are translated.
        #[arg(long)]
        log: Option<PathBuf>,
        /// Host of the requests of --log; without it, the first server_name.
        #[arg(long, requires = "log")]
        host: Option<String>,
    },
    /// Writes the configuration of the proxy.
    Convert {
        #[command(flatten)]
        input: Input,
        /// File to write; standard output without it.
        #[arg(short, long)]
        output: Option<PathBuf>,
        /// Converts although something is unsupported, and says what is missing. Locations that
        /// are not translated answer 502; those with a regular expression cannot be told apart,
        /// and their requests go where the report says.
        #[arg(long)]
        partial: bool,
    },
    /// Asks real nginx and Forebay the same, side by side on loopback, and says how they differ.
    Replay(Replay),
}

#[derive(Debug, clap::Args)]
struct Replay {
    #[command(flatten)]
    input: Input,
    /// Asks what this access log holds (request in quotes, as in `combined`) instead of requests
    /// made from the configuration; needs --host.
    #[arg(long, requires = "host")]
    log: Option<PathBuf>,
    /// Host of the requests of --log.
    #[arg(long, requires = "log")]
    host: Option<String>,
    /// nginx's program.
    #[arg(long, default_value = "nginx")]
    nginx: PathBuf,
    /// The proxy's program; without it, the one beside this.
    #[arg(long, value_name = "PROGRAM")]
    forebay_proxy: Option<PathBuf>,
    /// Form of the account.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(Debug, clap::Args)]
struct Input {
    /// The main file, such as /etc/nginx/nginx.conf.
    file: PathBuf,
    /// Where relative includes start; without it, the directory of FILE.
    #[arg(short, long)]
    prefix: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Table,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReportForm {
    Table,
    Json,
    /// A page for a browser.
    Html,
}

/// Runs a command; the exit code says how it went.
pub fn run(arguments: Arguments) -> anyhow::Result<u8> {
    match arguments.command {
        Command::Check { input } => check(&input),
        Command::Report { input, output, log, host } => {
            report(&input, output, log.as_deref(), host.as_deref())
        }
        Command::Convert { input, output, partial } => convert(&input, output.as_deref(), partial),
        Command::Replay(arguments) => replay(&arguments),
    }
}

/// The file with all that nginx would refuse, which is said on standard error.
fn read(input: &Input) -> anyhow::Result<Parsed> {
    let mut parsed =
        parse_file(&input.file, input.prefix.as_deref()).map_err(anyhow::Error::msg)?;
    parsed.problems.extend(crate::check::check(&parsed.document));
    parsed.problems.sort_by_key(|problem| problem.place);
    eprint!("{}", render(&parsed.problems, &parsed.document.files));
    Ok(parsed)
}

fn check(input: &Input) -> anyhow::Result<u8> {
    let parsed = read(input)?;
    let file = input.file.display();
    match parsed.problems.len() {
        0 => eprintln!("{file}: ok, {} directives", parsed.document.count),
        1 => eprintln!("{file}: 1 problem"),
        count => eprintln!("{file}: {count} problems"),
    }
    Ok(if parsed.problems.is_empty() { OK } else { BAD_DOCUMENT })
}

fn report(
    input: &Input,
    form: ReportForm,
    log: Option<&Path>,
    host: Option<&str>,
) -> anyhow::Result<u8> {
    let parsed = read(input)?;
    let translation = translate(&parsed.document);
    let mut report = Report::new(&parsed.document, &translation);
    if let Some(log) = log {
        let bytes =
            std::fs::read(log).with_context(|| format!("{} cannot be read", log.display()))?;
        let host = host.map_or_else(|| first_name(&parsed.document), str::to_owned);
        let text = String::from_utf8_lossy(&bytes);
        report.traffic = traffic(&parsed.document, &translation, &text, &host);
    }
    let text = match form {
        ReportForm::Table => table(&report),
        ReportForm::Json => serde_json::to_string_pretty(&report)? + "\n",
        ReportForm::Html => page(&input.file.display().to_string(), &report),
    };
    print(&text)?;
    Ok(match (parsed.problems.is_empty(), report.unsupported().next()) {
        (false, _) => BAD_DOCUMENT,
        (true, Some(_)) => FAILURE,
        (true, None) => OK,
    })
}

/// The first name that a server has.
fn first_name(document: &Document) -> String {
    let mut names = Vec::new();
    walk(&document.directives, &mut |line| {
        if line.name == "server_name" {
            names.extend(line.argument(0).map(str::to_owned));
        }
    });
    let plain =
        |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b));
    names.into_iter().find(plain).unwrap_or_default()
}

fn convert(input: &Input, output: Option<&Path>, partial: bool) -> anyhow::Result<u8> {
    let parsed = read(input)?;
    if !parsed.problems.is_empty() {
        return Ok(BAD_DOCUMENT);
    }
    let translation = translate(&parsed.document);
    let report = Report::new(&parsed.document, &translation);
    let missing: Vec<_> = report.unsupported().filter(|item| !item.row).collect();
    for item in &missing {
        eprintln!("{}:{}: {}: {}", item.file, item.line, item.directive, item.text);
    }
    let missing = missing.len();
    if missing > 0 && !partial {
        eprintln!("{missing} directives are unsupported; --partial converts the rest");
        return Ok(FAILURE);
    }
    let Translation { config: Some(config), origins, .. } = &translation else {
        eprintln!("nothing in {} passes requests to an upstream over HTTP", input.file.display());
        return Ok(FAILURE);
    };
    let text = convert::document(&input.file.display().to_string(), config, origins, &report);
    if let Err(problems) = Config::load(Source::new("the translation", text.as_str())) {
        eprintln!("{problems}\nThe translation would not load. Please report this with the file.");
        return Ok(FAILURE);
    }
    match output {
        Some(path) => std::fs::write(path, &text)
            .with_context(|| format!("{} cannot be written", path.display()))?,
        None => print(&text)?,
    }
    if missing > 0 {
        eprintln!("partial: {missing} directives are missing from it");
    }
    Ok(OK)
}

/// Fails when something differs that the report does not state.
fn replay(arguments: &Replay) -> anyhow::Result<u8> {
    let parsed = read(&arguments.input)?;
    if !parsed.problems.is_empty() {
        return Ok(BAD_DOCUMENT);
    }
    let document = &parsed.document;
    let requests = match (&arguments.log, &arguments.host) {
        (Some(log), Some(host)) => {
            let text =
                std::fs::read(log).with_context(|| format!("{} cannot be read", log.display()))?;
            let listen = *stage::addresses(document).first().context("no server listens")?;
            let (requests, strange) = from_log(&String::from_utf8_lossy(&text), listen, host);
            if strange > 0 {
                eprintln!("{}: {strange} lines hold no request and are left out", log.display());
            }
            requests
        }
        _ => generated(document),
    };
    let proxy = match &arguments.forebay_proxy {
        Some(path) => path.clone(),
        None => std::env::current_exe()
            .context("where is this program?")?
            .with_file_name("forebay-proxy"),
    };
    let programs = Programs { nginx: arguments.nginx.clone(), proxy };
    eprintln!("asking nginx and Forebay {} requests each", requests.len());
    let account = crate::replay::replay(document, &requests, &programs)?;
    match arguments.output {
        Form::Table => print(&account.table())?,
        Form::Json => print(&(serde_json::to_string_pretty(&account)? + "\n"))?,
    }
    Ok(if account.unexplained == 0 { OK } else { FAILURE })
}

/// A reader that has seen enough is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
