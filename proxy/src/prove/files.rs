//! The report as files: for programs, for people, and as a picture.

use std::fs;
use std::io;
use std::path::Path;

use super::measured::Measured;
use super::report::Report;
use super::{markdown, plot};

/// Writes the report as JSON, as Markdown and as a picture, in this folder.
pub fn write(report: &Report, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let json = serde_json::to_string_pretty(report)?;
    fs::write(folder.join("lanes.json"), json + "\n")?;
    fs::write(folder.join("lanes.md"), markdown::of(report))?;
    fs::write(folder.join("lanes.svg"), plot::svg(&curves(report)))
}

fn curves(report: &Report) -> [plot::Curve<'_>; 4] {
    let curve = |name, measured: &'_ Measured, color| plot::Curve {
        name,
        color,
        points: measured.transactions.curve.clone(),
    };
    [
        curve("alone", &report.with_lanes.alone, "#5b6b7a"),
        curve("beside video, with lanes", &report.with_lanes.overloaded, "#0a7d4f"),
        curve("alone, one pool", &report.without_lanes.alone, "#a9b4be"),
        curve("beside video, one pool", &report.without_lanes.overloaded, "#c2410c"),
    ]
}
