//! `forebay-proxy simulate FILE --trace LOG`

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use proxy_config::units::{ByteRate, Duration};
use serde_json::json;

use super::{Document, Fault, Output, OutputOption, load, print};
use crate::simulate::replay::{Assumptions, replay};
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
    let config = load(&options.document.file)?;
    let trace_path = options.trace.display();
    let log = File::open(&options.trace)
        .map_err(|error| Fault::Read { path: trace_path.to_string(), error })?;
    let trace =
        Trace::read(BufReader::new(log)).map_err(|fault| anyhow!("{trace_path}: {fault}"))?;
    let names: Vec<&String> = match options.policies.as_slice() {
        [] => config.cache_policies.keys().collect(),
        named => named.iter().collect(),
    };
    if names.is_empty() {
        return Err(Fault::Usage("the document has no cache policy".to_owned()));
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
    if let Some(path) = &options.plot {
        std::fs::write(path, plot::svg(&all))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    match options.output.output {
        Output::Json => {
            let ratios: Vec<f64> = all.iter().map(|figures| figures.hit_ratio()).collect();
            let report = json!({
                "requests": trace.asked.len(),
                "left_out": trace.left_out,
                "assumed": assumed,
                "hit_ratios": ratios,
                "policies": all,
            });
            print(&format!("{report}\n"))
        }
        Output::Text => print(&report::table(&trace, &assumed, &all)),
    }
}
