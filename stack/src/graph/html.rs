//! A picture as a page of its own: the drawing, and what it says in tables.

use std::fmt::Write;

use super::{Picture, svg};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:#1d2733}\
table{border-collapse:collapse;margin:1rem 0}td,th{text-align:left;padding:.3rem .8rem;\
border-bottom:1px solid #d5dde5}.drawing{overflow-x:auto}";

pub fn page(picture: &Picture) -> String {
    let title = svg::escaped(&picture.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<div class=\"drawing\">{}</div>\n",
        svg::whole(picture)
    );
    page.push_str("<h2>Who may talk to whom</h2>\n<table><tr><th>from<th>to<th>port<th>for</tr>\n");
    for arrow in &picture.arrows {
        for (index, why) in arrow.whys.iter().enumerate() {
            let port = arrow.ports.get(index).map(ToString::to_string).unwrap_or_default();
            let (from, to) = (arrow.from.what(), arrow.to.what());
            let _ = writeln!(page, "<tr><td>{from}<td>{to}<td>{port}<td>{why}</tr>");
        }
    }
    page.push_str("</table>\n<p>Everything else is refused by every security group.</p>\n");
    page.push_str("</body></html>\n");
    page
}
