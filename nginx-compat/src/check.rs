//! What nginx would refuse although the form is right: names it does not know, directives in the
//! wrong place, and wrong numbers of arguments.

use crate::directive::{self, Context, Spec};
use crate::problem::Problem;
use crate::tree::{Body, Directive, Document};

/// All such problems, in the order of their places.
pub fn check(document: &Document) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_block(&document.directives, Context::Main, &mut problems);
    problems.sort_by_key(|problem| problem.place);
    problems
}

fn check_block(directives: &[Directive], context: Context, problems: &mut Vec<Problem>) {
    for directive in directives {
        if let Body::Include(inner) = &directive.body {
            check_block(inner, context, problems);
            continue;
        }
        if !matches!(context, Context::Rows | Context::Opaque) {
            problems.extend(fault(directive, context));
        }
        if let Body::Block(inner) = &directive.body {
            check_block(inner, context.inside(&directive.name), problems);
        }
    }
}

fn fault(directive: &Directive, context: Context) -> Option<Problem> {
    let name = &directive.name;
    let problem = |message: String| Some(Problem::new(directive.end, message));
    let specs = directive::named(name);
    let Some(first) = specs.first() else {
        return unknown(directive, context);
    };
    let Some(spec) = specs.iter().find(|spec| spec.allows(context)) else {
        let hint = format!("it stands in {}; this is {}", first.places(), context.name());
        return problem(format!("\"{name}\" directive is not allowed here")).map(|p| p.hint(hint));
    };
    match (&directive.body, spec.block) {
        (Body::Simple | Body::Include(_), true) => {
            return problem(format!("directive \"{name}\" has no opening \"{{\""));
        }
        (Body::Block(_) | Body::Lua(_), false) => {
            return problem(format!("directive \"{name}\" is not terminated by \";\""));
        }
        _ => {}
    }
    if !spec.takes(directive.arguments.len()) {
        return problem(format!("invalid number of arguments in \"{name}\" directive"))
            .map(|p| p.hint(count_hint(directive, spec)));
    }
    let flag = directive.argument(0).unwrap_or_default().to_ascii_lowercase();
    if spec.is_flag() && flag != "on" && flag != "off" {
        let message = format!(
            "invalid value \"{flag}\" in \"{name}\" directive, it must be \"on\" or \"off\""
        );
        return problem(message);
    }
    None
}

fn unknown(directive: &Directive, context: Context) -> Option<Problem> {
    let problem = Problem::new(directive.end, format!("unknown directive \"{}\"", directive.name));
    if directive.name.starts_with('\u{feff}') {
        return Some(problem.hint("the file begins with a byte order mark; save it without one"));
    }
    Some(match directive::nearest(&directive.name, context) {
        Some(name) => problem.hint(format!("did you mean \"{name}\"?")),
        None => problem,
    })
}

/// Too many arguments are mostly a `;` that was forgotten: the next directive was swallowed.
fn count_hint(directive: &Directive, spec: &Spec) -> String {
    let swallowed = directive.arguments.iter().find(|word| {
        word.place.line > directive.start.line && !directive::named(&word.text).is_empty()
    });
    match swallowed {
        Some(word) => {
            format!("is a \";\" missing before \"{}\" in line {}?", word.text, word.place.line)
        }
        None => format!("it takes {}, here are {}", spec.takes_text(), directive.arguments.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::include::Includes;
    use crate::parse::parse_bytes;

    #[test]
    fn each_fault_has_its_line_and_a_hint() {
        let cases = [
            ("http {\n sever {}\n}", "2: unknown directive \"sever\" (did you mean \"server\"?)"),
            (
                "http {\n listen 80;\n}",
                "2: \"listen\" directive is not allowed here (it stands in server; this is http)",
            ),
            ("http { server { listen 80\n server_name a b\n ;} }", "3: "),
            (
                "worker_processes 1 2;",
                "1: invalid number of arguments in \"worker_processes\" directive (it takes 1 argument, here are 2)",
            ),
            (
                "worker_processes 1\nworker_priority 1;",
                "2: invalid number of arguments in \"worker_processes\" directive (is a \";\" missing before \"worker_priority\" in line 2?)",
            ),
            ("http;", "1: directive \"http\" has no opening \"{\""),
            ("daemon { }", "1: directive \"daemon\" is not terminated by \";\""),
            (
                "daemon yes;",
                "1: invalid value \"yes\" in \"daemon\" directive, it must be \"on\" or \"off\"",
            ),
        ];
        for (text, expected) in cases {
            let parsed = parse_bytes("t", text.as_bytes(), Includes::Unfollowed);
            assert!(parsed.problems.is_empty(), "{text}");
            let said: Vec<String> = check(&parsed.document)
                .iter()
                .map(|p| match &p.hint {
                    Some(hint) => format!("{}: {} ({hint})", p.place.line, p.message),
                    None => format!("{}: {}", p.place.line, p.message),
                })
                .collect();
            match expected {
                // listen takes any number of arguments; what they mean is the translation's.
                "3: " => assert!(said.is_empty(), "{said:?}"),
                expected => assert_eq!(said, [expected], "{text}"),
            }
        }
    }

    #[test]
    fn rows_and_foreign_blocks_are_not_directives() {
        let text = "http { map $a $b { default 1; x y; } types { text/css css; } } stream { foo; }";
        let parsed = parse_bytes("t", text.as_bytes(), Includes::Unfollowed);
        assert!(check(&parsed.document).is_empty());
    }
}
