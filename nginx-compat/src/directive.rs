//! The table of directives (directives.tsv): where each may stand and how many arguments it takes.
//! It was checked against nginx 1.22.1 and knows the newer ones and common third-party modules.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Where a directive stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    Main,
    Events,
    Http,
    Server,
    Location,
    Upstream,
    /// `if` in a server.
    ServerIf,
    /// `if` in a location.
    LocationIf,
    LimitExcept,
    /// Inside `map`, `geo`, `types` and the like: rows of data, not directives.
    Rows,
    /// Inside a block that is not looked into: `stream`, `mail`, unknown ones.
    Opaque,
}

impl Context {
    /// The letter that stands for it in the table.
    fn letter(self) -> Option<char> {
        Some(match self {
            Context::Main => 'M',
            Context::Events => 'E',
            Context::Http => 'H',
            Context::Server => 'S',
            Context::Location => 'L',
            Context::Upstream => 'U',
            Context::ServerIf => 's',
            Context::LocationIf => 'l',
            Context::LimitExcept => 'X',
            Context::Rows | Context::Opaque => return None,
        })
    }

    /// How messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Context::Main => "the main level",
            Context::Events => "events",
            Context::Http => "http",
            Context::Server => "server",
            Context::Location => "location",
            Context::Upstream => "upstream",
            Context::ServerIf => "if in a server",
            Context::LocationIf => "if in a location",
            Context::LimitExcept => "limit_except",
            Context::Rows => "rows of a table",
            Context::Opaque => "a block that is not looked into",
        }
    }

    /// What stands inside a block of this name that stands here.
    pub fn inside(self, name: &str) -> Context {
        match (self, name) {
            (Context::Opaque, _) => Context::Opaque,
            (Context::Main, "events") => Context::Events,
            (Context::Main, "http") => Context::Http,
            (Context::Http, "server") => Context::Server,
            (Context::Http, "upstream") => Context::Upstream,
            (Context::Server | Context::Location, "location") => Context::Location,
            (Context::Server, "if") => Context::ServerIf,
            (Context::Location, "if") => Context::LocationIf,
            (Context::Location, "limit_except") => Context::LimitExcept,
            (_, "map" | "geo" | "split_clients" | "types" | "charset_map") => Context::Rows,
            _ => Context::Opaque,
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The feature it belongs to: `proxy`, `gzip`, `third_party`, ...
    pub group: &'static str,
    /// With `*` at one end for families of third-party directives.
    pub name: &'static str,
    pub block: bool,
    contexts: &'static str,
    arguments: &'static str,
}

impl Spec {
    pub fn allows(&self, context: Context) -> bool {
        context.letter().is_none_or(|letter| self.contexts.contains(letter))
    }

    /// The contexts by name, for messages.
    pub fn places(&self) -> String {
        const ALL: [Context; 9] = [
            Context::Main,
            Context::Events,
            Context::Http,
            Context::Server,
            Context::Location,
            Context::Upstream,
            Context::ServerIf,
            Context::LocationIf,
            Context::LimitExcept,
        ];
        let names: Vec<_> =
            ALL.into_iter().filter(|c| self.allows(*c)).map(Context::name).collect();
        names.join(", ")
    }

    pub fn takes(&self, count: usize) -> bool {
        match self.arguments {
            "any" => true,
            "flag" => count == 1,
            "1+" => count >= 1,
            "2+" => count >= 2,
            list => list.split(',').any(|number| number.parse() == Ok(count)),
        }
    }

    pub fn is_flag(&self) -> bool {
        self.arguments == "flag"
    }

    /// How many arguments it takes, for messages.
    pub fn takes_text(&self) -> String {
        match self.arguments {
            "any" => "any number of arguments".to_owned(),
            "flag" => "\"on\" or \"off\"".to_owned(),
            "0" => "no arguments".to_owned(),
            "1" => "1 argument".to_owned(),
            "1+" => "1 argument or more".to_owned(),
            "2+" => "2 arguments or more".to_owned(),
            list => format!("{} arguments", list.replace(',', " or ")),
        }
    }
}

struct Table {
    by_name: HashMap<&'static str, Vec<Spec>>,
    families: Vec<Spec>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { by_name: HashMap::new(), families: Vec::new() };
    for spec in include_str!("directives.tsv").lines().filter_map(row) {
        if spec.name.contains('*') {
            table.families.push(spec);
        } else {
            table.by_name.entry(spec.name).or_default().push(spec);
        }
    }
    table
});

fn row(line: &'static str) -> Option<Spec> {
    if line.starts_with('#') {
        return None;
    }
    let mut cells = line.split('\t');
    let (group, name, form) = (cells.next()?, cells.next()?, cells.next()?);
    let (contexts, arguments) = (cells.next()?, cells.next()?);
    Some(Spec { group, name, block: form == "{}", contexts, arguments })
}

/// What the table says of a name; several lines where a name means different things in different
/// contexts.
pub fn named(name: &str) -> &'static [Spec] {
    if let Some(specs) = TABLE.by_name.get(name) {
        return specs;
    }
    let in_family = |spec: &&Spec| match (spec.name.strip_suffix('*'), spec.name.strip_prefix('*'))
    {
        (Some(start), _) => name.starts_with(start),
        (_, Some(end)) => name.ends_with(end),
        _ => false,
    };
    TABLE.families.iter().find(in_family).map_or(&[], std::slice::from_ref)
}

/// The known name nearest to a wrong one, preferring names that may stand in the context.
pub fn nearest(name: &str, context: Context) -> Option<&'static str> {
    let distance_max = if name.len() < 5 { 1 } else { 2 };
    let near = TABLE.by_name.values().flatten().filter_map(|spec| {
        let distance = strsim::damerau_levenshtein(name, spec.name);
        (distance <= distance_max).then_some((!spec.allows(context), distance, spec.name))
    });
    near.min().map(|(_, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_sound() {
        let mut lines = 0;
        for line in include_str!("directives.tsv").lines().filter(|l| !l.starts_with('#')) {
            let spec = row(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(line.split('\t').count(), 5, "{line}");
            assert!(spec.contexts.chars().all(|c| "MEHSLUslX".contains(c)), "{line}");
            assert!(!spec.contexts.is_empty(), "{line}");
            let known = ["any", "flag", "1+", "2+"].contains(&spec.arguments);
            assert!(
                known || spec.arguments.split(',').all(|n| n.parse::<usize>().is_ok()),
                "{line}"
            );
            lines += 1;
        }
        assert!(lines > 600);
    }

    #[test]
    fn names_contexts_and_counts() {
        let server = named("server");
        assert!(server.iter().any(|s| s.block && s.allows(Context::Http)));
        assert!(server.iter().any(|s| !s.block && s.allows(Context::Upstream)));
        assert!(named("return")[0].takes(2) && !named("return")[0].takes(3));
        assert!(named("lua_shared_dict")[0].group == "lua");
        assert!(named("access_by_lua_block")[0].block);
        assert!(named("nonsense").is_empty());
        assert_eq!(nearest("proxy_passs", Context::Location), Some("proxy_pass"));
        assert_eq!(nearest("sever_name", Context::Server), Some("server_name"));
        assert_eq!(nearest("quite_something_else", Context::Server), None);
    }
}
