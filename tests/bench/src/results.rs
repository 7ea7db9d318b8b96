//! Figures by peer and row, as they come in; medians of them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::workload::Workload;

/// Of what a peer said when it failed, on the page; the whole of it is on standard error.
const FAULT_CHARACTERS_MAX: usize = 160;

/// What a peer came to in one row.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Figure {
    Median(f64),
    /// Why there is none.
    None(String),
}

#[derive(Default)]
pub struct Results {
    values: BTreeMap<(String, &'static str, usize), Vec<f64>>,
    faults: BTreeMap<(String, &'static str), String>,
}

impl Results {
    pub fn add(&mut self, peer: &str, workload: &Workload, figures: Vec<f64>) {
        for (row, figure) in figures.into_iter().enumerate() {
            self.values.entry((peer.to_owned(), workload.id, row)).or_default().push(figure);
        }
    }

    pub fn fail(&mut self, peer: &str, workload: &Workload, why: String) {
        self.faults.insert((peer.to_owned(), workload.id), why);
    }

    /// The median of all rounds; a fault in any of them counts more.
    pub fn figure(&self, peer: &str, workload: &Workload, row: usize) -> Figure {
        if let Some(why) = self.faults.get(&(peer.to_owned(), workload.id)) {
            return Figure::None(why.clone());
        }
        match self.values.get(&(peer.to_owned(), workload.id, row)) {
            Some(values) => Figure::Median(median(values)),
            None => Figure::None("not measured".to_owned()),
        }
    }

    /// What went wrong, a line for each fault of a peer, with the workloads that met it.
    pub fn faults(&self) -> Vec<String> {
        let mut by_fault = BTreeMap::<(&str, String), Vec<&str>>::new();
        for ((peer, workload), why) in &self.faults {
            let line: String = why.split_whitespace().collect::<Vec<_>>().join(" ");
            let short: String = line.chars().take(FAULT_CHARACTERS_MAX).collect();
            by_fault.entry((peer, short)).or_default().push(workload);
        }
        let line = |((peer, why), workloads): ((&str, String), Vec<&str>)| {
            format!("{peer}, {}: {why}", workloads.join(" "))
        };
        by_fault.into_iter().map(line).collect()
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.as_slice() {
        [] => f64::NAN,
        sorted if sorted.len() % 2 == 1 => sorted[middle],
        sorted => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::named;

    #[test]
    fn medians_are_of_all_rounds_and_a_fault_is_not_hidden_by_them() {
        let (mut results, workload) = (Results::default(), named("w7").unwrap());
        for value in [9.0, 1.0, 2.0] {
            results.add("a", workload, vec![value, 0.0, 1.0]);
        }
        assert!(matches!(results.figure("a", workload, 0), Figure::Median(2.0)));
        results.add("a", workload, vec![3.0, 0.0, 1.0]);
        assert!(matches!(results.figure("a", workload, 0), Figure::Median(2.5)));
        results.fail("a", workload, "it fell over".to_owned());
        assert!(
            matches!(results.figure("a", workload, 2), Figure::None(why) if why == "it fell over")
        );
        assert!(matches!(results.figure("b", workload, 0), Figure::None(_)));
    }
}
