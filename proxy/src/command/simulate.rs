//! `forebay-proxy simulate FILE --trace LOG`

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use proxy_config::Config;
use proxy_config::lane::LaneName;
use proxy_config::units::{ByteRate, ByteSize, Duration};
use serde_json::json;

use super::document::{Document, load};
use super::fault::Fault;
use super::output::{Output, OutputOption, print};
use crate::cache::directives;
use crate::simulate::buffering::{self, Between, Held};
use crate::simulate::replay::{Assumptions, Figures, replay};
use crate::simulate::trace::Trace;
use crate::simulate::{plot, report};

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    document: Document,
    /// The proxy's access log.
    #[arg(long, value_name = "LOG")]
    trace: PathBuf,
    /// A cache policy of the document; several are shown side by side. Without it, all.
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// A buffer policy of the document: what bodies would hold under it, and whom they would keep waiting;
    /// several are shown side by side.
    #[arg(long = "buffer-policy", value_name = "NAME")]
    buffer_policies: Vec<String>,
    /// The lane whose memory and disk those bodies share.
    #[arg(long, value_name = "LANE", default_value = "bulk")]
    lane: String,
    /// Cache-Control of the origin's answers, which no log tells; without it, it says nothing.
    #[arg(long, value_name = "TEXT")]
    origin_says: Option<String>,
    /// How fast the origin sends one answer.
    #[arg(long, value_name = "RATE", default_value = "100MB/s")]
    origin_rate: ByteRate,
    /// Target duration of live playlists, for policies with `video`.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    target_duration: Duration,
    /// Write the curves of hit ratio and memory over time to this file, as SVG.
    #[arg(long, value_name = "PATH")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    output: OutputOption,
}

pub fn run(options: &Options) -> Result<(), Fault> {
    if let Some(said) = &options.origin_says {
        directives::check(said).map_err(|why| Fault::Usage(format!("--origin-says: {why}")))?;
    }
    let config = load(&options.document.file)?;
    let trace_path = options.trace.display();
    let log = File::open(&options.trace)
        .map_err(|error| Fault::Read { path: trace_path.to_string(), error })?;
    let trace =
        Trace::read(BufReader::new(log)).map_err(|fault| anyhow!("{trace_path}: {fault}"))?;
    let names: Vec<&String> = match options.policies.as_slice() {
        [] if !options.buffer_policies.is_empty() => Vec::new(),
        [] => config.cache_policies.keys().collect(),
        named => named.iter().collect(),
    };
    if names.is_empty() && options.buffer_policies.is_empty() {
        return Err(Fault::Usage(
            "the document has no cache policy; name a buffer policy with --buffer-policy"
                .to_owned(),
        ));
    }
    let assumed = Assumptions {
        origin_says: options.origin_says.clone(),
        target_ms: options.target_duration.as_millis(),
        origin_rate: options.origin_rate.as_bytes_per_second(),
    };
    let mut all = Vec::new();
    for name in names {
        let figures = replay(&config, name, &trace, &assumed);
        all.push(figures.ok_or_else(|| {
            let known: Vec<_> = config.cache_policies.keys().map(String::as_str).collect();
            Fault::Usage(format!("no cache policy `{name}`; there are: {}", known.join(", ")))
        })?);
    }
    let between = between(options, &config, assumed.origin_rate)?;
    let held = held(options, &config, &trace, &between)?;
    if let Some(path) = &options.plot {
        std::fs::write(path, plot::svg(&all))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    match options.output.output {
        Output::Json => {
            let ratios: Vec<f64> = all.iter().map(Figures::hit_ratio).collect();
            let report = json!({
                "requests": trace.asked.len(),
                "left_out": trace.left_out,
                "assumed": assumed,
                "hit_ratios": ratios,
                "policies": all,
                "buffer_policies": held,
            });
            print(&format!("{report}\n"))
        }
        Output::Text => {
            let mut text = String::new();
            if !all.is_empty() {
                text.push_str(&report::table(&trace, &assumed, &all));
            }
            if !held.is_empty() {
                text.push_str(if text.is_empty() { "" } else { "\n" });
                text.push_str(&buffering::table(&held, &between));
            }
            print(&text)
        }
    }
}

/// What the bodies of the lane share.
fn between(options: &Options, config: &Config, origin_rate: u64) -> Result<Between, Fault> {
    let named = LaneName::ALL.into_iter().find(|name| name.as_str() == options.lane);
    let name = named.ok_or_else(|| {
        let known: Vec<_> = LaneName::ALL.into_iter().map(LaneName::as_str).collect();
        Fault::Usage(format!("no lane `{}`; there are: {}", options.lane, known.join(", ")))
    })?;
    let lane = config.lanes.get(name);
    let memory = lane.memory_max.map_or(u64::MAX / 2, ByteSize::as_bytes);
    let disk = lane.spill.as_ref().map_or(0, |spill| spill.bytes_max.as_bytes());
    Ok(Between { origin_rate, lane_memory: memory, lane_disk: disk })
}

fn held(
    options: &Options,
    config: &Config,
    trace: &Trace,
    between: &Between,
) -> Result<Vec<Held>, Fault> {
    let held = |name: &String| {
        buffering::hold(config, name, trace, between).ok_or_else(|| {
            let known: Vec<_> = config.buffer_policies.keys().map(String::as_str).collect();
            Fault::Usage(format!("no buffer policy `{name}`; there are: {}", known.join(", ")))
        })
    };
    options.buffer_policies.iter().map(held).collect()
}
