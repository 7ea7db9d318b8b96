//! docs/BENCHMARKS.md: the table, and what must be known to read it.

use std::fmt::Write as _;
use std::fs;

use crate::peer::Peer;
use crate::results::{Figure, Results};
use crate::workload::{Row, Workload};

/// A run, apart from its figures.
pub struct Run<'a> {
    pub date: String,
    pub machine: String,
    /// Ready processes of the whole machine when the run began, and when it ended.
    pub loads: (f64, f64),
    pub seconds: f64,
    pub rounds: u32,
    pub workloads: Vec<&'static Workload>,
    pub peers: Vec<(&'a Peer, String)>,
}

/// Above this other work took processors from what was measured.
const BUSY: f64 = 0.7;

/// Model, processors and kernel of this machine.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let count = info.lines().filter(|line| line.starts_with("processor")).count();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{count} × {}, Linux {}", model.unwrap_or("unknown processor"), release.trim())
}

/// Ready processes, the mean of the last minute (proc_loadavg(5)).
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

pub fn of(run: &Run<'_>, results: &Results) -> String {
    let mut text = String::from("# Benchmarks\n\n");
    // Writing to a string does not fail.
    let _ = write_all(&mut text, run, results);
    text
}

fn write_all(text: &mut String, run: &Run<'_>, results: &Results) -> std::fmt::Result {
    writeln!(
        text,
        "Written by `make bench` on {}: do not edit it. {}. Every peer on one processor with one worker, origin and \
         clients on the others; medians of {} interleaved rounds of {} s; CPU is the kernel's account of the \
         peer's processes; every body was compared with the origin's. ±15 % is noise.\n",
        run.date, run.machine, run.rounds, run.seconds
    )?;
    if run.loads.0 > BUSY {
        writeln!(
            text,
            "**The machine was busy with other work** ({:.1} ready processes before the run): take ratios, counts \
             and memory from this table, not times.\n",
            run.loads.0
        )?;
    }
    write!(text, "| | workload | unit |")?;
    for (peer, _) in &run.peers {
        write!(text, " {} |", peer.name)?;
    }
    writeln!(text, " Forebay must |")?;
    writeln!(text, "|---|---|---|{}---|", "---|".repeat(run.peers.len()))?;
    for workload in &run.workloads {
        for (number, row) in workload.rows.iter().enumerate() {
            let id = if number == 0 { workload.id } else { "" };
            write!(text, "| {id} | {} | {} |", row.what, row.unit)?;
            let figures = run.peers.iter().map(|(peer, _)| figure(peer, workload, number, results));
            let figures: Vec<Figure> = figures.collect();
            let best = best(row, &figures);
            for figure in &figures {
                write!(text, " {} |", cell(row, figure, best))?;
            }
            writeln!(text, " {} |", row.must)?;
        }
    }
    writeln!(text, "\nThe best of each row is bold; – stands for what a peer cannot do.\n")?;
    for (peer, version) in &run.peers {
        writeln!(text, "- {}: {version}", peer.name)?;
    }
    let faults = results.faults();
    if !faults.is_empty() {
        writeln!(text, "\nWithout a figure:\n")?;
        faults.iter().try_for_each(|fault| writeln!(text, "- {fault}"))?;
    }
    Ok(())
}

fn figure(peer: &Peer, workload: &Workload, row: usize, results: &Results) -> Figure {
    if peer.cannot.iter().any(|id| id == workload.id) {
        return Figure::None("–".to_owned());
    }
    results.figure(&peer.name, workload, row)
}

fn best(row: &Row, figures: &[Figure]) -> Option<f64> {
    let values = figures.iter().filter_map(|figure| match figure {
        Figure::Median(value) => Some(*value),
        Figure::None(_) => None,
    });
    if row.higher_is_better { values.reduce(f64::max) } else { values.reduce(f64::min) }
}

fn cell(row: &Row, figure: &Figure, best: Option<f64>) -> String {
    match figure {
        Figure::None(why) if why == "–" => why.clone(),
        Figure::None(_) => "failed".to_owned(),
        Figure::Median(value) => {
            let shown = format!("{value:.*}", row.places);
            let is_best = best.is_some_and(|best| format!("{best:.*}", row.places) == shown);
            if is_best { format!("**{shown}**") } else { shown }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::shipped;
    use crate::workload::{ALL, named};

    #[test]
    fn the_table_has_every_row_the_best_in_bold_and_says_what_failed() {
        let peers = shipped().unwrap();
        let mut results = Results::default();
        let w7 = named("W7").unwrap();
        results.add(&peers[0].name, w7, vec![0.4, 1.1, 2.9]);
        results.add(&peers[1].name, w7, vec![90.0, 80.0, 2.1]);
        results.fail(&peers[2].name, named("W1").unwrap(), "no answer".to_owned());
        let run = Run {
            date: "2026-01-02".to_owned(),
            machine: machine(),
            loads: (3.0, 0.0),
            seconds: 4.0,
            rounds: 3,
            workloads: ALL.iter().collect(),
            peers: peers.iter().map(|peer| (peer, "1.0".to_owned())).collect(),
        };
        let text = of(&run, &results);
        let rows: usize = ALL.iter().map(|workload| workload.rows.len()).sum();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
        assert_eq!(lines.len(), rows + 1);
        assert!(lines.iter().all(|line| line.matches('|').count() == peers.len() + 5));
        assert!(text.contains("| **0.40** | 90.00 |") && text.contains("| **2.90** | 2.10 |"));
        assert!(text.contains("busy") && text.contains("W1: no answer"));
    }
}
