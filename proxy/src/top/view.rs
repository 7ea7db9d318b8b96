//! Figures as text for a terminal. Pure.

use std::fmt::Write as _;

use crate::top::figures::Figures;

/// A part of the page: a line of headings and lines of cells. The first column is text, to the left.
struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// The page, no line wider than this.
pub fn page(figures: &Figures, columns: usize) -> String {
    let mut text = String::new();
    let drains = if figures.draining { ", draining" } else { "" };
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "forebay-proxy {}, generation {}{drains}: {} connections, figures of {:.1} s",
        figures.version, figures.generation, figures.connections, figures.seconds
    );
    for table in [routes(figures), lanes(figures), caches(figures), servers(figures)] {
        if !table.rows.is_empty() {
            text.push('\n');
            text.push_str(&table.text());
        }
    }
    text.push('\n');
    let untold =
        || "SLOWEST is told to those with a token: admin.tokens, or --token-file\n".to_owned();
    text.push_str(&slowest(figures).map_or_else(untold, |table| table.text()));
    let cut = |line: &str| line.chars().take(columns).collect::<String>();
    text.lines().map(|line| cut(line) + "\n").collect()
}

impl Table {
    fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.heads[column].len()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.heads.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for (index, (cell, width)) in cells.zip(&widths).enumerate() {
                let _ = match index {
                    0 => write!(line, "{cell:width$}"),
                    _ => write!(line, "  {cell:>width$}"),
                };
            }
            line.trim_end().to_owned() + "\n"
        };
        let mut text = line(&mut self.heads.iter().copied());
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
        }
        text
    }
}

fn routes(figures: &Figures) -> Table {
    let heads = ["ROUTE", "LANE", "REQ/S", "FAIL/S", "P50", "P99", "IN/S", "OUT/S", "TUNNELS"];
    let rows = figures.routes.iter().map(|route| {
        vec![
            route.route.clone(),
            route.lane.clone(),
            number(route.requests),
            number(route.failures),
            millis(route.p50_ms),
            millis(route.p99_ms),
            bytes(route.bytes_in),
            bytes(route.bytes_out),
            number(route.tunnels),
        ]
    });
    Table { heads: heads.to_vec(), rows: rows.collect() }
}

fn lanes(figures: &Figures) -> Table {
    let heads = [
        "LANE",
        "IN FLIGHT",
        "MAX",
        "WAITING",
        "SHED/S",
        "CONNS",
        "AT ORIGINS",
        "CONNS UP",
        "BUFFERS",
        "OF",
        "PACED/S",
    ];
    let rows = figures.lanes.iter().map(|lane| {
        let of = if lane.memory_max > 0.0 { bytes(lane.memory_max) } else { "-".to_owned() };
        vec![
            lane.lane.clone(),
            number(lane.in_flight),
            number(lane.max),
            number(lane.waiting),
            number(lane.shed),
            limited(lane.connections, lane.connections_max),
            number(lane.at_origins),
            limited(lane.upstream_connections, lane.upstream_connections_max),
            bytes(lane.memory),
            of,
            bytes(lane.paced_bytes),
        ]
    });
    Table { heads: heads.to_vec(), rows: rows.collect() }
}

fn caches(figures: &Figures) -> Table {
    let heads = ["CACHE", "REQ/S", "HITS", "FILLS", "FILLED/S", "MEMORY", "OF", "DISK"];
    let rows = figures.caches.iter().map(|cache| {
        vec![
            cache.cache.clone(),
            number(cache.requests),
            cache.hit_ratio.map_or("-".to_owned(), |ratio| format!("{:.1}%", ratio * 100.0)),
            number(cache.fills),
            bytes(cache.fill_bytes),
            bytes(cache.bytes),
            bytes(cache.bytes_max),
            bytes(cache.disk_bytes),
        ]
    });
    Table { heads: heads.to_vec(), rows: rows.collect() }
}

fn servers(figures: &Figures) -> Table {
    let heads = ["UPSTREAM", "SERVER", "UP", "IN FLIGHT", "FAIL/S", "FIRST BYTE P99"];
    let rows = figures.servers.iter().map(|server| {
        vec![
            server.upstream.clone(),
            server.server.clone(),
            if server.up { "up" } else { "OUT" }.to_owned(),
            number(server.in_flight),
            number(server.failures),
            millis(server.first_byte_p99_ms),
        ]
    });
    Table { heads: heads.to_vec(), rows: rows.collect() }
}

fn slowest(figures: &Figures) -> Option<Table> {
    let heads = ["SLOWEST", "ROUTE", "STATUS", "TOOK", "FIRST BYTE", "REQUEST ID"];
    let rows = figures.slowest.as_ref()?.iter().map(|slow| {
        vec![
            format!("{} {}", slow.method, slow.path),
            slow.route.clone(),
            slow.status.map_or("-".to_owned(), |status| status.to_string()),
            millis(Some(slow.duration_ms)),
            millis(slow.first_byte_ms),
            slow.request_id.clone(),
        ]
    });
    Some(Table { heads: heads.to_vec(), rows: rows.collect() })
}

/// A number and, where there is a limit, that.
fn limited(value: f64, max: f64) -> String {
    if max > 0.0 { format!("{}/{}", number(value), number(max)) } else { number(value) }
}

fn number(value: f64) -> String {
    match value {
        // The sum of no floats is -0.
        0.0 => "0".to_owned(),
        value if value == value.trunc() => format!("{value}"),
        value if value >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

fn millis(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(ms) if ms >= 10_000.0 => format!("{:.0} s", ms / 1e3),
        Some(ms) if ms >= 10.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{ms:.1} ms"),
    }
}

fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = value;
    for unit in units {
        if value < 1024.0 || unit == "TiB" {
            return match unit {
                "B" => format!("{value:.0} {unit}"),
                _ => format!("{value:.1} {unit}"),
            };
        }
        value /= 1024.0;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short() {
        assert_eq!(number([0.0; 0].iter().sum()), "0");
        assert_eq!([number(0.0), number(1.25), number(123.4)], ["0", "1.2", "123"]);
        assert_eq!(
            [millis(None), millis(Some(2.5)), millis(Some(250.0))],
            ["-", "2.5 ms", "250 ms"]
        );
        assert_eq!([bytes(12.0), bytes(1536.0), bytes(3e9)], ["12 B", "1.5 KiB", "2.8 GiB"]);
        let table = Table { heads: vec!["A", "BCD"], rows: vec![vec!["xyz".into(), "1".into()]] };
        assert_eq!(table.text(), "A    BCD\nxyz    1\n");
    }
}
