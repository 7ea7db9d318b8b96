//! Text for browsers. What is written in the source goes out as it is; everything else can only be added as text, and
//! is escaped: a name or a description never becomes markup.

/// A page that is being written.
#[derive(Debug, Default)]
pub struct Markup(String);

impl Markup {
    /// Markup of the source itself.
    pub fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Anything else, in an element or between the quotes of an attribute.
    pub fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// A cell of a table.
    pub fn cell(&mut self, text: &str) -> &mut Self {
        self.raw("<td>").text(text).raw("</td>")
    }

    /// A cell with an amount, which is read from the right.
    pub fn amount(&mut self, text: &str) -> &mut Self {
        self.raw("<td class=\"amount\">").text(text).raw("</td>")
    }

    pub fn done(self) -> String {
        self.0
    }
}

/// A value in a query, of visible ASCII characters.
pub fn in_query(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~:".contains(&byte) {
            text.push(byte.into());
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        let mut page = Markup::default();
        page.raw("<a title=\"").text("\"><script>'&").raw("\">").cell("<b>").amount("1.00");
        assert_eq!(
            page.done(),
            "<a title=\"&quot;&gt;&lt;script&gt;&#39;&amp;\"><td>&lt;b&gt;</td><td class=\"amount\">1.00</td>"
        );
    }

    #[test]
    fn values_of_a_query_stay_values() {
        assert_eq!(
            in_query("2026-01-01T00:00:00+01:00&x=ä"),
            "2026-01-01T00:00:00%2B01:00%26x%3D%C3%A4"
        );
    }
}
