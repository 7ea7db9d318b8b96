//! The report as a page for a browser: one file, nothing fetched.

use std::fmt::Write as _;

use crate::report::{Report, Share};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;\
padding:0 1rem;color:#222}table{border-collapse:collapse;width:100%;margin:1rem 0}\
td,th{border-bottom:1px solid #ddd;padding:.3rem .5rem;text-align:left;vertical-align:top}\
code{white-space:pre-wrap;overflow-wrap:anywhere}.exact{color:#17692f}.ignored{color:#666}\
.approximate{color:#8a5a00}.unsupported{color:#a4161a;font-weight:600}";

/// The whole page.
pub fn page(name: &str, report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{0}</title>\n\
         <style>{STYLE}</style>\n<h1>{0}</h1>\n",
        escaped(&format!("How exactly Forebay keeps {name}"))
    );
    let _ = writeln!(page, "<h2>{} directives</h2>", report.directives);
    shares(&mut page, &report.shares);
    if let Some(traffic) = &report.traffic {
        let _ = writeln!(page, "<h2>{} requests of the log</h2>", traffic.requests);
        shares(&mut page, &traffic.shares);
        page.push_str("<table>\n<tr><th>Place<th>Requests<th>Exactness<th>For example\n");
        for place in &traffic.places {
            let _ = writeln!(
                page,
                "<tr><td>{} <code>{}</code><td>{}<td class=\"{3}\">{3}<td><code>{4}</code>",
                escaped(&place.place),
                escaped(&place.directive),
                place.requests,
                place.exactness.name(),
                escaped(&place.example)
            );
        }
        page.push_str("</table>\n");
    }
    if !report.notes.is_empty() {
        page.push_str("<h2>Without a directive</h2>\n<ul>\n");
        for note in &report.notes {
            let _ = writeln!(page, "<li>{}", escaped(note));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("<h2>Every directive</h2>\n<table>\n");
    page.push_str("<tr><th>Place<th>Exactness<th>Directive<th>What it comes to\n");
    for item in &report.items {
        let _ = writeln!(
            page,
            "<tr><td>{}:{}<td class=\"{2}\">{2}<td style=\"padding-left:{3}em\"><code>{4}</code><td>{5}",
            escaped(&item.file),
            item.line,
            item.exactness.name(),
            item.context.len() + 1,
            escaped(&item.directive),
            escaped(&item.text)
        );
    }
    page.push_str("</table>\n</html>\n");
    page
}

fn shares(page: &mut String, shares: &[Share]) {
    page.push_str("<table>\n");
    for share in shares {
        let _ = writeln!(
            page,
            "<tr><td class=\"{0}\">{0}<td>{1}<td>{2:.1} %",
            share.exactness.name(),
            share.count,
            share.percent
        );
    }
    page.push_str("</table>\n");
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::include::Includes;
    use crate::parse::parse_bytes;
    use crate::traffic::traffic;
    use crate::translate::translate;

    #[test]
    fn a_page_has_every_directive_and_what_the_log_asks_for() {
        let text = "http { server { listen 80; server_name a.example; add_header X \"<&>\";\n\
                    location /x { proxy_pass http://127.0.0.1:9; }\n\
                    location /y { uwsgi_pass 127.0.0.1:9; } } }";
        let document = parse_bytes("t.conf", text.as_bytes(), Includes::Unfollowed).document;
        let translation = translate(&document);
        let mut report = Report::new(&document, &translation);
        let log = "- - - [] \"GET /x/1 HTTP/1.1\" 200 1\n- - - [] \"GET /y HTTP/1.1\" 200 1\n\
                   - - - [] \"GET /y?z HTTP/1.1\" 200 1\nnonsense\n";
        let traffic = traffic(&document, &translation, log, "a.example").unwrap();
        assert_eq!((traffic.requests, traffic.strange), (3, 1));
        let of = |name: &str| {
            traffic.shares.iter().find(|share| share.exactness.name() == name).unwrap().count
        };
        assert_eq!(of("exact") + of("approximate"), 1);
        assert_eq!(of("unsupported"), 2);
        assert_eq!(traffic.places[0].directive, "location /y");
        report.traffic = Some(traffic.clone());
        let page = page("t.conf", &report);
        assert!(page.contains("&lt;&amp;&gt;") && !page.contains("<&>"));
        assert_eq!(page.matches("<code>").count(), report.items.len() + 2 * traffic.places.len());
    }
}
