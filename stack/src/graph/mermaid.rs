//! A picture as Mermaid, for documents that draw it themselves.

use std::fmt::Write;

use super::Picture;

/// Tiers as subgraphs, parties as nodes, arrows with their ports; the ways of requests beside them.
pub fn text(picture: &Picture) -> String {
    let mut text = String::from("flowchart TB\n");
    for (number, band) in picture.bands.iter().enumerate() {
        let _ = writeln!(text, "  subgraph tier{number}[{}]", quoted(&band.name));
        for row in &band.rows {
            let mut lines = vec![row.name.clone(), row.detail.clone()];
            if !row.in_zones.is_empty() {
                let placed = picture.zones.iter().zip(&row.in_zones);
                let placed = placed.filter(|(_, what)| !what.is_empty());
                let placed: Vec<String> = placed.map(|(z, what)| format!("{z}: {what}")).collect();
                lines.push(placed.join(", "));
            }
            lines.retain(|line| !line.is_empty());
            let _ = writeln!(text, "    {}[{}]", row.party.word(), quoted(&lines.join("<br>")));
        }
        text.push_str("  end\n");
    }
    for arrow in &picture.arrows {
        let ports: Vec<String> = arrow.ports.iter().map(ToString::to_string).collect();
        let label = format!("{} {}", ports.join(", "), arrow.whys.join("; "));
        let (from, to) = (arrow.from.word(), arrow.to.word());
        let _ = writeln!(text, "  {from} -->|{}| {to}", quoted(label.trim()));
    }
    for (number, way) in picture.ways.iter().enumerate() {
        let _ =
            writeln!(text, "  subgraph way{number}[{}]", quoted(&format!("route {}", way.route)));
        text.push_str("    direction LR\n");
        for (index, step) in way.steps.iter().enumerate() {
            let label = quoted(&format!("{}<br>{}", step.name, step.detail));
            let _ = writeln!(text, "    way{number}s{index}[{label}]");
            if index > 0 {
                let _ = writeln!(text, "    way{number}s{} --> way{number}s{index}", index - 1);
            }
        }
        text.push_str("  end\n");
    }
    text
}

/// A label: entities for what would end it.
fn quoted(text: &str) -> String {
    let kept = text.replace('&', "#amp;").replace('"', "#quot;").replace('\n', " ");
    format!("\"{kept}\"")
}
