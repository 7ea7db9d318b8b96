//! `forebay-proxy top FILE`

use std::io::{IsTerminal, Write};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use proxy_config::units::Duration;

use super::admin_call::{AdminCall, AdminOptions};
use super::document::{Document, load};
use super::fault::Fault;
use super::output::{Output, OutputOption, print};
use crate::slowest::Slow;
use crate::top::figures::{Figures, between};
use crate::top::samples::Sample;
use crate::top::view;

/// Columns where standard output is no terminal.
const COLUMNS: usize = 160;
/// The other screen without a cursor, and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the top, and nothing below what is written.
const HOME: &str = "\x1b[H";
const CLEAR: &str = "\x1b[J";

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    document: Document,
    /// Time between two looks.
    #[arg(long, default_value = "1s", value_name = "TIME")]
    interval: Duration,
    /// Print one page and end.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    admin: AdminOptions,
    #[command(flatten)]
    output: OutputOption,
}

pub fn run(options: &Options) -> Result<(), Fault> {
    let call = AdminCall::as_viewer(&load(&options.document.file)?, &options.admin)?;
    let interval = options.interval.as_std();
    let first = sample(&call)?;
    if options.once {
        std::thread::sleep(interval);
        let figures = look(&call, &first)?.1;
        return match options.output.output {
            Output::Json => {
                let json = serde_json::to_string(&figures).context("figures are no JSON")?;
                print(&format!("{json}\n"))
            }
            Output::Text => print(&view::page(&figures, COLUMNS)),
        };
    }
    if !std::io::stdout().is_terminal() {
        return Err(Fault::Usage("standard output is no terminal; give --once".to_owned()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("no runtime")?;
    print(ENTER)?;
    let shown = runtime.block_on(async {
        let mut before = first;
        loop {
            tokio::select! {
                done = tokio::signal::ctrl_c() => return done.context("no signals").map_err(Fault::Other),
                () = tokio::time::sleep(interval) => {}
            }
            let (after, figures) = look(&call, &before)?;
            show(&figures)?;
            before = after;
        }
    });
    print(LEAVE)?;
    shown
}

fn sample(call: &AdminCall) -> Result<Sample, Fault> {
    Ok(Sample::read(&call.get_text("/metrics")?, Instant::now()))
}

fn look(call: &AdminCall, before: &Sample) -> Result<(Sample, Figures), Fault> {
    let after = sample(call)?;
    let slowest = match call.has_token() {
        true => {
            let told = call.get("/slowest", "the slowest are not told")?;
            Some(serde_json::from_value::<Vec<Slow>>(told).context("not the slowest")?)
        }
        false => None,
    };
    let figures = between(before, &after, slowest);
    Ok((after, figures))
}

/// As much of the page as the terminal has lines for.
fn show(figures: &Figures) -> Result<(), Fault> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let columns = size.map_or(COLUMNS, |size| usize::from(size.ws_col));
    let lines = size.map_or(usize::MAX, |size| usize::from(size.ws_row));
    let page = view::page(figures, columns);
    let mut text = HOME.to_owned();
    for line in page.lines().take(lines.saturating_sub(1)) {
        // What was there before goes.
        text.push_str(line);
        text.push_str("\x1b[K\r\n");
    }
    text.push_str(CLEAR);
    print(&text)?;
    std::io::stdout().flush().context("cannot write to standard output").map_err(Fault::Other)
}
