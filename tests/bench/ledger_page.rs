//! What is said of what was measured: to who waits for it, and as a page.

use std::fmt::Write as _;
use std::path::Path;

use crate::Asked;
use crate::cost::Spent;
use crate::engine::Engine;
use crate::load::Measured;

/// What a row is held to.
#[derive(Clone, Copy, Default)]
pub struct Bar {
    least: Option<f64>,
    p99_below_ms: Option<f64>,
}

impl Bar {
    pub fn least(rate: f64) -> Self {
        Self { least: Some(rate), p99_below_ms: None }
    }

    pub fn and_p99_below(self, ms: f64) -> Self {
        Self { p99_below_ms: Some(ms), ..self }
    }

    /// The bar in words, and whether it is met.
    fn judge(self, measured: &Measured) -> String {
        let Some(least) = self.least else { return "–".into() };
        let quick = self.p99_below_ms.is_none_or(|most| measured.p99 < most);
        let met = if measured.rate >= least && quick { "met" } else { "**missed**" };
        let p99 = self.p99_below_ms.map(|most| format!(", p99 < {most:.0}")).unwrap_or_default();
        format!("≥ {least:.0}{p99}: {met}")
    }
}

pub struct Page {
    text: String,
    /// Of the engine being measured.
    flushes: f64,
    alone: f64,
}

impl Page {
    pub fn begin(asked: &Asked) -> Self {
        let processor = read("/proc/cpuinfo");
        let model =
            processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cores = processor.lines().filter(|line| line.starts_with("processor")).count();
        let day = jiff::Timestamp::now().strftime("%Y-%m-%d");
        let mut page = Self { text: String::new(), flushes: 0.0, alone: 0.0 };
        page.say(&format!(
            "# What the ledger does a second\n\nWritten by `make bench-ledger` on {day}: do not edit it. {cores} × {}, Linux {}; \
             {} s a row, load generator, service and database on these cores together. Everything is durable: settings are \
             those the service insists on. Each figure is also given as a ratio to two of the same minute: how often the \
             disk flushes, and what the same engine does with one SQL transaction for each transfer.",
            model.map_or("?", |(_, model)| model.trim()),
            read("/proc/sys/kernel/osrelease").trim(),
            asked.time.as_secs()
        ));
        page
    }

    pub fn engine(&mut self, engine: Engine, flushes: f64, alone: f64) {
        (self.flushes, self.alone) = (flushes, alone);
        self.say(&format!(
            "\n## {engine:?}\n\n{flushes:.0} flushes/s, {alone:.0} transfers/s with one SQL transaction each; load {}.\n",
            read("/proc/loadavg").trim()
        ));
        self.say("| | per second | p50 ms | p99 ms | bar | µs each: clients | service | database | × flushes | × one each |");
        self.say("|---|---|---|---|---|---|---|---|---|---|");
    }

    pub fn row(&mut self, what: &str, measured: &Measured, spent: Spent, bar: Bar) {
        let Measured { rate, p50, p99, count } = measured;
        let each = |time: std::time::Duration| time.as_secs_f64() * 1e6 / count;
        self.say(&format!(
            "| {what} | {rate:.0} | {p50:.1} | {p99:.1} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            bar.judge(measured),
            each(spent.clients),
            each(spent.service),
            each(spent.database),
            rate / self.flushes,
            rate / self.alone
        ));
    }

    /// After a table it is a paragraph of its own.
    pub fn say(&mut self, line: &str) {
        let table = self.text.ends_with("|\n") && !line.starts_with('|');
        let line = if table { format!("\n{line}") } else { line.to_owned() };
        println!("{line}");
        let _ = writeln!(self.text, "{line}");
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, &self.text).unwrap();
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap()
}
