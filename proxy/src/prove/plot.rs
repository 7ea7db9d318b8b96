//! Latencies by percentile, as SVG: both axes logarithmic, since it is the tail that matters.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 740.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 370.0;
/// Ten-thousandths that the axis names.
const TICKS: [(u64, &str); 6] = [
    (0, "0 %"),
    (9000, "90 %"),
    (9900, "99 %"),
    (9990, "99.9 %"),
    (9999, "99.99 %"),
    (10_000, "max"),
];
/// Where "all of them" stands on the axis, in decades from 0 %.
const DECADES: f64 = 4.5;

pub struct Curve<'a> {
    pub name: &'a str,
    pub color: &'a str,
    /// Ten-thousandths of the requests, and the microseconds they were answered within.
    pub points: Vec<(u64, u64)>,
}

/// Microseconds between two powers of ten that hold all curves.
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    fn of(curves: &[Curve<'_>]) -> Scale {
        let all = curves.iter().flat_map(|curve| &curve.points).map(|(_, micros)| *micros);
        let (low, high) = all
            .fold((u64::MAX, 1), |(low, high), micros| (low.min(micros.max(1)), high.max(micros)));
        let low = low.min(high).ilog10();
        let high = high.ilog10().max(low) + 1;
        let power = |power: u32| i32::try_from(power).unwrap_or(0);
        Scale { low: power(low), high: power(high) }
    }

    fn y(&self, micros: f64) -> f64 {
        let decades = f64::from(self.high - self.low);
        BOTTOM - (micros.max(1.0).log10() - f64::from(self.low)) / decades * (BOTTOM - TOP)
    }
}

fn x(share: u64) -> f64 {
    let decades = match share {
        10_000.. => DECADES,
        share => -(1.0 - share as f64 / 10_000.0).log10(),
    };
    LEFT + decades / DECADES * (RIGHT - LEFT)
}

pub fn svg(curves: &[Curve<'_>]) -> String {
    let scale = Scale::of(curves);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    // Writing to a string does not fail.
    let _ = axes(&mut text, &scale);
    for (number, curve) in (0_u32..).zip(curves) {
        let _ = draw(&mut text, &scale, number, curve);
    }
    text + "</svg>\n"
}

fn axes(text: &mut String, scale: &Scale) -> std::fmt::Result {
    let line = "stroke=\"#dde3e8\"";
    for (share, name) in TICKS {
        let x = x(share);
        writeln!(text, "<path d=\"M{x:.1} {TOP}V{BOTTOM}\" {line}/>")?;
        let below = BOTTOM + 18.0;
        writeln!(text, "<text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\">{name}</text>")?;
    }
    for power in scale.low..=scale.high {
        let micros = 10_f64.powi(power);
        let (y, edge) = (scale.y(micros), LEFT - 8.0);
        writeln!(text, "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" {line}/>")?;
        let millis = micros / 1000.0;
        writeln!(text, "<text x=\"{edge}\" y=\"{y:.1}\" text-anchor=\"end\">{millis} ms</text>")?;
    }
    let (middle, foot) = (f64::midpoint(LEFT, RIGHT), BOTTOM + 40.0);
    let what = "transactions answered within, counted from the moment they were due";
    writeln!(text, "<text x=\"{middle}\" y=\"{foot}\" text-anchor=\"middle\">{what}</text>")
}

fn draw(text: &mut String, scale: &Scale, number: u32, curve: &Curve<'_>) -> std::fmt::Result {
    let Curve { name, color, points } = curve;
    let places: Vec<String> = points
        .iter()
        .map(|(share, micros)| format!("{:.1},{:.1}", x(*share), scale.y(*micros as f64)))
        .collect();
    let places = places.join(" ");
    writeln!(
        text,
        "<polyline points=\"{places}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>"
    )?;
    let at = LEFT + f64::from(number) * 168.0;
    writeln!(text, "<path d=\"M{at} 28h18\" stroke=\"{color}\" stroke-width=\"3\"/>")?;
    writeln!(text, "<text x=\"{}\" y=\"32\">{name}</text>", at + 23.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_stay_inside_the_axes_whatever_the_values() {
        for points in
            [vec![(0, 0), (10_000, 0)], vec![(0, 90), (9900, 400), (10_000, 9_000_000)], vec![]]
        {
            let curves = [Curve { name: "alone", color: "#000000", points }];
            let text = svg(&curves);
            assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
            let line = text.lines().find_map(|line| line.strip_prefix("<polyline points=\""));
            let places = line.and_then(|line| line.split('"').next()).unwrap();
            for place in places.split_whitespace() {
                let (x, y) = place.split_once(',').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                assert!((LEFT..=RIGHT).contains(&x) && (TOP..=BOTTOM).contains(&y), "{place}");
            }
        }
    }

    #[test]
    fn each_nine_is_as_wide_as_the_one_before() {
        let width = |from, to| (x(to) - x(from)).round();
        assert_eq!(width(0, 9000), width(9000, 9900));
        assert_eq!(width(9900, 9990), width(9990, 9999));
    }
}
