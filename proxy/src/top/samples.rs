//! An exposition in Prometheus' text format (version 0.0.4), read into series. Only what this proxy writes is
//! understood; other lines are passed over.

use std::collections::BTreeMap;
use std::time::Instant;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Series {
    /// The value of a label; empty where there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All values at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    pub at: Instant,
    by_name: BTreeMap<String, Vec<Series>>,
}

impl Sample {
    pub fn read(text: &str, at: Instant) -> Sample {
        let mut by_name: BTreeMap<String, Vec<Series>> = BTreeMap::new();
        for series in text.lines().filter_map(series) {
            by_name.entry(series.name.clone()).or_default().push(series);
        }
        Sample { at, by_name }
    }

    /// The series of a family, its name without `forebay_proxy_`.
    pub fn all(&self, family: &str) -> &[Series] {
        self.by_name.get(&format!("forebay_proxy_{family}")).map_or(&[], Vec::as_slice)
    }

    /// The sum of a family's series with these labels.
    pub fn sum(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |series: &&Series| labels.iter().all(|(name, is)| series.label(name) == *is);
        // The sum of nothing is -0.
        self.all(family).iter().filter(fits).map(|series| series.value).sum::<f64>() + 0.0
    }

    /// The values a label of a family has, in order.
    pub fn values(&self, family: &str, label: &str) -> Vec<String> {
        let mut all: Vec<String> =
            self.all(family).iter().map(|series| series.label(label).to_owned()).collect();
        all.sort();
        all.dedup();
        all
    }
}

/// `name{label="value",…} 1.5`
fn series(line: &str) -> Option<Series> {
    if line.starts_with('#') {
        return None;
    }
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, quoted) = rest.trim_start_matches(',').split_once("=\"")?;
            let (value, after) = unquoted(quoted)?;
            labels.insert(label.to_owned(), value);
            rest = after;
        }
        rest = &rest[1..];
    }
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Series { name: name.to_owned(), labels, value })
}

/// A label's value and what follows its closing quote.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_as_they_are_written() {
        let text = "# HELP forebay_proxy_a b\n# TYPE forebay_proxy_a counter\n\
                    forebay_proxy_a{route=\"a\\\"b\\\\c,}\",lane=\"bulk\"} 3\n\
                    forebay_proxy_a{route=\"x\",lane=\"bulk\"} 1.5e1\n\
                    forebay_proxy_b 7\nforebay_proxy_c{broken\nforebay_proxy_d{x=\"y\"} +Inf\n";
        let sample = Sample::read(text, Instant::now());
        assert_eq!(sample.values("a", "route"), ["a\"b\\c,}", "x"]);
        assert_eq!(sample.sum("a", &[("lane", "bulk")]), 18.0);
        assert_eq!(sample.sum("a", &[("route", "x")]), 15.0);
        assert_eq!(sample.sum("b", &[]), 7.0);
        assert!(sample.sum("c", &[]).is_sign_positive(), "nothing is no less than 0");
        assert_eq!(sample.all("d")[0].value, f64::INFINITY);
    }

    #[test]
    fn it_reads_what_the_proxy_exports() {
        let metrics = crate::metrics::Metrics::new();
        metrics.request_seconds.with_label_values(&["all", "bulk"]).observe(0.2);
        let sample = Sample::read(&String::from_utf8(metrics.render()).unwrap(), Instant::now());
        assert_eq!(sample.sum("request_duration_seconds_count", &[("route", "all")]), 1.0);
        assert_eq!(sample.sum("build_info", &[]), 1.0);
    }
}
