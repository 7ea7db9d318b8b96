//! Two curves over time for each policy, as SVG: hit ratio so far, and memory.

use std::fmt::Write as _;

use crate::simulate::replay::Figures;

const WIDTH: f64 = 800.0;
const PANEL: f64 = 220.0;
const MARGIN: f64 = 56.0;
const COLORS: [&str; 6] = ["#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#787774"];

pub fn svg(all: &[Figures]) -> String {
    let seconds = all.iter().flat_map(|f| f.curve.last()).map(|point| point.0).fold(1.0, f64::max);
    let memory = all.iter().map(|f| f.memory_peak_bytes).max().unwrap_or(1).max(1) as f64;
    let height = 2.0 * PANEL + 3.0 * MARGIN;
    let width = WIDTH + 2.0 * MARGIN;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let legend = all.iter().zip(COLORS.iter().cycle()).enumerate();
    for (index, (figures, color)) in legend {
        let x = MARGIN + 160.0 * index as f64;
        let name = escaped(&figures.policy);
        let _ = writeln!(text, "<text x=\"{x}\" y=\"20\" fill=\"{color}\">{name}</text>");
    }
    let panels: [(&str, fn(&(f64, f64, u64)) -> f64, f64, String); 2] = [
        ("hit ratio so far", |point| point.1, 1.0, "100 %".to_owned()),
        ("bytes in memory", |point| point.2 as f64, memory, format!("{:.1} MB", memory / 1e6)),
    ];
    for (index, (title, value, top, label)) in panels.into_iter().enumerate() {
        let y = MARGIN + (PANEL + MARGIN) * index as f64;
        let bottom = y + PANEL;
        let _ = writeln!(
            text,
            "<rect x=\"{MARGIN}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{PANEL}\" fill=\"none\" stroke=\"#ddd\"/>\n\
             <text x=\"{MARGIN}\" y=\"{}\">{title}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{seconds:.0} s</text>",
            y - 8.0,
            MARGIN - 6.0,
            y + 10.0,
            MARGIN + WIDTH,
            bottom + 16.0,
        );
        for (figures, color) in all.iter().zip(COLORS.iter().cycle()) {
            let points: Vec<String> = figures
                .curve
                .iter()
                .map(|point| {
                    let x = MARGIN + WIDTH * point.0 / seconds;
                    format!("{x:.1},{:.1}", bottom - PANEL * value(point) / top)
                })
                .collect();
            let _ = writeln!(
                text,
                "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\" points=\"{}\"/>",
                points.join(" ")
            );
        }
    }
    text.push_str("</svg>\n");
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_has_its_curves_within_the_picture() {
        let figures = |policy: &str| Figures {
            policy: policy.to_owned(),
            memory_peak_bytes: 100,
            curve: vec![(0.0, 0.0, 0), (5.0, 1.0, 100)],
            ..Figures::default()
        };
        let svg = svg(&[figures("a<b"), figures("c")]);
        assert_eq!(svg.matches("<polyline").count(), 4);
        assert!(
            svg.contains("a&lt;b") && svg.contains("points=\"56.0,276.0 856.0,56.0\""),
            "{svg}"
        );
    }
}
