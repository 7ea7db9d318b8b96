//! A picture as SVG: a bar for each party across the zones it stands in, tiers as bands behind them,
//! and beside them a track for each arrow, so that no two lines meet. Below, the ways of requests.

use std::fmt::Write;

use super::{Arrow, Picture, Step};

const LEFT: usize = 130;
const NAME: usize = 300;
const ZONE: usize = 120;
const BAR: usize = 44;
const GAP: usize = 12;
const BAND_PAD: usize = 10;
const TOP: usize = 64;
const TRACK: usize = 64;
const STEP_HEIGHT: usize = 46;
/// Roughly, of the font at 12 px.
const CHARACTER: usize = 7;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1d2733}.title{font-size:18px;font-weight:600}\
.name{font-weight:600}.detail{fill:#5a6775;font-size:11px}.band{fill:#eef2f6;rx:10px}\
.tier{fill:#5a6775;font-weight:600}.bar{fill:#fff;stroke:#9aa9b8}.cell{fill:#d9ecff;stroke:#6ba4dd}\
.line{fill:none;stroke:#37618e;stroke-width:1.5}.head{fill:#37618e}.port{fill:#fff}\
.step{fill:#fff;stroke:#6ba4dd}";

/// Text within an element or an attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Tiers, parties, zones and arrows, and below them the ways of requests.
pub fn whole(picture: &Picture) -> String {
    let (estate, width, height) = estate(picture);
    let (ways, ways_width, ways_height) = ways(picture);
    let (width, top) = (width.max(ways_width), height + 20);
    let mut svg = opened(width, top + ways_height);
    let _ = write!(svg, "{estate}<g transform=\"translate(0,{top})\">{ways}</g></svg>");
    svg.push('\n');
    svg
}

fn opened(width: usize, height: usize) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\"><style>{STYLE}</style>\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    )
}

/// The drawing, its width and its height.
fn estate(picture: &Picture) -> (String, usize, usize) {
    let mut svg = String::new();
    let bar_end = LEFT + NAME + picture.zones.len() * ZONE + 12;
    let _ =
        write!(svg, "<text class=\"title\" x=\"20\" y=\"30\">{}</text>", escaped(&picture.title));
    for (index, zone) in picture.zones.iter().enumerate() {
        let x = LEFT + NAME + index * ZONE + ZONE / 2;
        let _ = write!(
            svg,
            "<text class=\"tier\" x=\"{x}\" y=\"54\" text-anchor=\"middle\">zone {zone}</text>"
        );
    }
    let mut places = Vec::new();
    let mut y = TOP;
    for band in &picture.bands {
        let height = 2 * BAND_PAD + band.rows.len() * (BAR + GAP) - GAP;
        let _ = write!(
            svg,
            "<rect class=\"band\" x=\"10\" y=\"{y}\" width=\"{}\" height=\"{height}\"/>\
             <text class=\"tier\" x=\"22\" y=\"{}\">{}</text>",
            bar_end,
            y + height / 2 + 4,
            escaped(&band.name)
        );
        for (index, row) in band.rows.iter().enumerate() {
            let top = y + BAND_PAD + index * (BAR + GAP);
            places.push((row.party, top));
            let _ = write!(
                svg,
                "<rect class=\"bar\" x=\"{LEFT}\" y=\"{top}\" width=\"{}\" height=\"{BAR}\" rx=\"6\"/>\
                 <text class=\"name\" x=\"{x}\" y=\"{}\">{}</text>\
                 <text class=\"detail\" x=\"{x}\" y=\"{}\">{}</text>",
                bar_end - LEFT,
                top + 18,
                escaped(&row.name),
                top + 35,
                escaped(&row.detail),
                x = LEFT + 12,
            );
            cells(&mut svg, &row.in_zones, top);
        }
        y += height + GAP;
    }
    let width = tracks(&mut svg, &picture.arrows, &places, bar_end);
    (svg, width, y)
}

fn cells(svg: &mut String, in_zones: &[String], top: usize) {
    for (index, what) in in_zones.iter().enumerate().filter(|(_, what)| !what.is_empty()) {
        let x = LEFT + NAME + index * ZONE;
        let _ = write!(
            svg,
            "<rect class=\"cell\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"24\" rx=\"5\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x + 8,
            top + 10,
            ZONE - 16,
            x + ZONE / 2,
            top + 26,
            escaped(what)
        );
    }
}

/// A track for each arrow, short ones next to the bars. Returns the whole width.
fn tracks(
    svg: &mut String,
    arrows: &[Arrow],
    places: &[(crate::estate::flows::Party, usize)],
    bar_end: usize,
) -> usize {
    let top_of = |party| places.iter().find(|(other, _)| *other == party).map(|(_, top)| *top);
    let mut drawn: Vec<(usize, usize, &Arrow)> = arrows
        .iter()
        .filter_map(|arrow| Some((top_of(arrow.from)?, top_of(arrow.to)?, arrow)))
        .collect();
    drawn.sort_by_key(|(from, to, _)| from.abs_diff(*to));
    for (index, (from, to, arrow)) in drawn.iter().enumerate() {
        let x = bar_end + 34 + index * TRACK;
        // Lines leave in the upper half of a bar and arrive in the lower one, each at its height.
        let (leave, arrive) = (from + 6 + index % 4 * 5, to + 26 + index % 4 * 5);
        let ports: Vec<String> = arrow.ports.iter().map(ToString::to_string).collect();
        let label = ports.join(", ");
        let middle = usize::midpoint(leave, arrive);
        let half = label.chars().count() * CHARACTER / 2 + 3;
        let _ = write!(
            svg,
            "<g><title>{} to {}: {}</title>\
             <path class=\"line\" d=\"M{bar_end} {leave}H{x}V{arrive}H{}\"/>\
             <path class=\"head\" d=\"M{bar_end} {arrive}l9 -4v8z\"/>",
            arrow.from.word(),
            arrow.to.word(),
            escaped(&arrow.whys.join("; ")),
            bar_end + 8,
        );
        if !label.is_empty() {
            let _ = write!(
                svg,
                "<rect class=\"port\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"16\"/>\
                 <text class=\"detail\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                x.saturating_sub(half),
                middle - 8,
                half * 2,
                middle + 4,
            );
        }
        svg.push_str("</g>");
    }
    bar_end + 60 + drawn.len() * TRACK
}

/// A chain of steps for each route, its width and its height.
fn ways(picture: &Picture) -> (String, usize, usize) {
    let mut svg =
        String::from("<text class=\"title\" x=\"20\" y=\"24\">The way of a request</text>");
    let mut width = 0;
    let mut y = 40;
    for way in &picture.ways {
        let mut x = 20;
        for (index, step) in way.steps.iter().enumerate() {
            if index > 0 {
                let middle = y + STEP_HEIGHT / 2;
                let _ = write!(
                    svg,
                    "<path class=\"line\" d=\"M{} {middle}H{}\"/><path class=\"head\" d=\"M{x} {middle}l-8 -4v8z\"/>",
                    x - 24,
                    x - 6
                );
            }
            let wide = width_of(step);
            let _ = write!(
                svg,
                "<rect class=\"step\" x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{STEP_HEIGHT}\" rx=\"6\"/>\
                 <text class=\"name\" x=\"{t}\" y=\"{}\">{}</text><text class=\"detail\" x=\"{t}\" y=\"{}\">{}</text>",
                y + 19,
                escaped(&step.name),
                y + 36,
                escaped(&step.detail),
                t = x + 10,
            );
            x += wide + 24;
        }
        width = width.max(x);
        y += STEP_HEIGHT + GAP;
    }
    (svg, width, y + 10)
}

fn width_of(step: &Step) -> usize {
    step.name.chars().count().max(step.detail.chars().count()) * CHARACTER + 20
}
