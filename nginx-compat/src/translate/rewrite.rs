//! The rewrite phase: `set`, `if`, `rewrite`, `return` and `break` of a server or location, as steps.

use std::collections::BTreeMap;

use proxy_config::pattern::{Regex, Template};
use proxy_config::route::PathMatch;
use proxy_config::route_action::{Redirect, Respond};
use proxy_config::steps::{
    Action, AfterRewrite, Condition, ConditionTest, PathKind, RewriteStep, SetVariable, Step,
};

use crate::translate::as_sent;
use crate::translate::captured;
use crate::translate::link;
use crate::translate::regex::{apart, convert, convert_test};
use crate::translate::scope::Scope;
use crate::translate::variable::{Names, Place, bare, is_legal, own_name, variables};
use crate::tree::{Directive, flattened};
use crate::verdict::{Verdict, Verdicts};

const NO_SLASH: &str = "a path without a slash at its beginning is answered 400";
const OWN_SLASH: &str = "a path begins with a slash, where nginx's has none";

const OWN: [&str; 5] = ["set", "if", "rewrite", "return", "break"];

/// In an `if`, without effect on what is answered.
const HARMLESS: [&str; 4] = ["access_log", "error_log", "log_not_found", "rewrite_log"];

/// What answers in an `if`, when it has it.
const HANDLERS: [&str; 6] =
    ["proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass"];

/// Variables of translated steps: an `if` with an upstream of its own was taken, and after it one without.
const PASSED_BY_IF: &str = "passed_by_if";
const LOST_BY_IF: &str = "lost_by_if";

/// The steps of a block.
#[derive(Clone, Debug, Default)]
pub struct Program {
    pub steps: Vec<Step>,
    /// Whether every request is answered by them.
    pub always_ends: bool,
}

impl Program {
    /// nginx checks a link when somebody first asks what it is worth.
    fn check_link(&mut self, reading: &mut Reading<'_, '_>) {
        if let Some(check) = reading.link.take() {
            self.steps.push(Step { when: Vec::new(), then: vec![check] });
        }
    }
}

/// What a block's steps are read with.
pub struct Reading<'r, 'a> {
    pub names: &'r mut Names<'a>,
    pub verdicts: &'r mut Verdicts,
    pub place: &'r Place,
    pub block: &'a Directive,
    /// The requests it is for, where it is a location.
    pub path: Option<&'r PathMatch>,
    /// What `return` with text sends as its type.
    pub content_type: Template,
    /// Whether the block passes requests on by itself, and so does every `if` in it.
    pub passes: bool,
    /// Checks the link of a request, where one is checked.
    pub link: Option<Action>,
    /// Makes the route of an `if` that holds more than rewriting, and gives its name.
    pub route_of_if:
        &'r mut dyn FnMut(&'a Directive, &mut Names<'a>, &mut Verdicts) -> Result<String, String>,
}

/// Whether a block rewrites anything.
pub fn has_steps(block: &Directive) -> bool {
    flattened(block.children()).iter().any(|line| OWN.contains(&line.name.as_str()))
}

/// Whether a step of a block asks what a link is worth.
fn asks_of_link(block: &Directive) -> bool {
    let steps = flattened(block.children()).into_iter();
    steps.filter(|line| OWN.contains(&line.name.as_str())).any(link::is_asked)
}

/// The check of links in the steps of a block. A server's own check links only where they ask; its locations do so for
/// themselves.
pub fn link(
    block: &Directive,
    scope: &Scope<'_>,
    place: &Place,
    names: &mut Names<'_>,
    verdicts: &mut Verdicts,
) -> Result<Option<Action>, String> {
    match block.name == "location" || asks_of_link(block) {
        true => link::check(scope, place, names, verdicts),
        false => Ok(None),
    }
}

/// Reads the steps of a block; the error names what cannot be translated.
pub fn program<'a>(block: &'a Directive, reading: &mut Reading<'_, 'a>) -> Result<Program, String> {
    let mut program = Program::default();
    let (mut passed, mut ended) = (false, false);
    if !asks_of_link(block) {
        program.check_link(reading);
    }
    for line in flattened(block.children()) {
        if ended || !OWN.contains(&line.name.as_str()) {
            if ended && OWN.contains(&line.name.as_str()) {
                let why = "nothing comes past the `return` or `break` before it in nginx either";
                reading.verdicts.add(line, Verdict::ignored(why));
            }
            continue;
        }
        if link::is_asked(line) {
            program.check_link(reading);
        }
        let step = match line.name.as_str() {
            "if" => reading.of_if(line),
            "rewrite" => reading.rewrite(line, &mut program.steps),
            _ => reading.action(line).map(|then| Step { when: Vec::new(), then }),
        };
        let step = step.inspect_err(|why| {
            reading.verdicts.add(line, Verdict::unsupported(why.clone()));
        })?;
        reading.verdicts.add(line, Verdict::exact());
        let step = match line.name == "if" && !reading.passes {
            true => without_upstream(line, step, &mut passed, &mut program.steps),
            false => step,
        };
        if step.then.is_empty() {
            continue;
        }
        let ends = |action: &Action| {
            matches!(action, Action::Respond(_) | Action::Redirect(_) | Action::Close)
        };
        ended = step.when.is_empty() && step.then.iter().any(ends);
        program.always_ends = ended && !program.steps.iter().any(|step| leaves(block, step));
        let stops = step.when.is_empty() && step.then.contains(&Action::Stop);
        match program.steps.last_mut() {
            Some(last) if last.when.is_empty() && step.when.is_empty() => {
                last.then.extend(step.then);
            }
            _ => program.steps.push(step),
        }
        if stops {
            break;
        }
    }
    if reading.place.as_sent && !ended && !reading.takes_all() {
        reading.tell_what_is_lost();
        program.steps.push(as_sent::lost());
    }
    if passed && program.steps.iter().any(|step| step.then.contains(&set(LOST_BY_IF, "1"))) {
        let then = vec![Action::Respond(nowhere())];
        program.steps.push(Step { when: vec![is_set(LOST_BY_IF)], then });
    }
    Ok(program)
}

/// Whether a step may lead past those behind it, to what the block has beside its steps.
fn leaves(block: &Directive, step: &Step) -> bool {
    step.then.iter().any(|action| match action {
        Action::Stop => true,
        Action::Rewrite(rewrite) if rewrite.redirect.is_none() => match rewrite.after {
            AfterRewrite::Stay => true,
            // What a location sends elsewhere has left it, and its other steps with it.
            AfterRewrite::Again => block.name == "server",
            AfterRewrite::GoOn => false,
        },
        _ => false,
    })
}

/// An `if` takes the place of the one before it, but for who answers: where that one passes requests on and this one does
/// not, nginx has no upstream left and answers 500.
fn without_upstream(
    line: &Directive,
    mut step: Step,
    passed: &mut bool,
    steps: &mut Vec<Step>,
) -> Step {
    let inner = flattened(line.children());
    if inner.iter().any(|inner| HANDLERS.contains(&inner.name.as_str())) {
        *passed = true;
        step.then.splice(0..0, [set(PASSED_BY_IF, "1"), set(LOST_BY_IF, "")]);
    } else if *passed {
        let mut when = step.when.clone();
        when.push(is_set(PASSED_BY_IF));
        let then = match step.then.contains(&Action::Stop) {
            true => Action::Respond(nowhere()),
            false => set(LOST_BY_IF, "1"),
        };
        steps.push(Step { when, then: vec![then] });
    }
    step
}

fn set(name: &str, to: &str) -> Action {
    Action::Set(SetVariable { name: name.to_owned(), to: Template(to.to_owned()) })
}

fn is_set(name: &str) -> Condition {
    Condition { of: Template(format!("${{{name}}}")), is: None, not: false }
}

fn nowhere() -> Respond {
    Respond { status: 500, body: None, headers: BTreeMap::new() }
}

impl<'a> Reading<'_, 'a> {
    fn text(&mut self, text: &str) -> Result<Template, String> {
        self.names.text(text, self.place, self.verdicts)
    }

    /// Text that is shown or compared: a path in it has no escapes.
    fn shown(&mut self, text: &str) -> Result<Template, String> {
        let place = Place { is_text: true, ..self.place.clone() };
        self.names.text(text, &place, self.verdicts)
    }

    /// What an answer says.
    fn said(&mut self, text: &str) -> Result<Template, String> {
        let place = Place { is_text: true, page: true, ..self.place.clone() };
        self.names.text(text, &place, self.verdicts)
    }

    /// Says what differs where a text tells more of a path than letters.
    fn say_captured(&mut self, line: &Directive, text: &str, difference: &str) {
        let expressions = captured::expressions(self.block);
        if captured::may_differ(text, &expressions, self.names) {
            self.verdicts.add(line, Verdict::approximate(difference));
        }
    }

    /// A rewrite of the block itself, and what comes before it.
    fn rewrite(&mut self, line: &'a Directive, before: &mut Vec<Step>) -> Result<Step, String> {
        let always = |then| Step { when: Vec::new(), then };
        if as_sent::begins(line) {
            return as_sent::first(line, self.block, before.is_empty()).map(always);
        }
        let (find, to) =
            (line.argument(0).unwrap_or_default(), line.argument(1).unwrap_or_default());
        if self.place.as_sent {
            let to = self.text(to)?;
            return as_sent::rewritten(line, to);
        }
        if let Some((find, spared)) = apart(find)
            && convert(line.argument(0).unwrap_or_default(), false).is_err()
            && variables(to).iter().all(|name| !name.bytes().all(|byte| byte.is_ascii_digit()))
        {
            let when = self.names.unless((line.start.line, &spared))?;
            let then = vec![self.rewrite_of(line, convert(&find, false)?)?];
            return Ok(Step { when: vec![when], then });
        }
        let lacks_slash = line.argument(2) == Some("break") && as_sent::may_lack_slash(find, to);
        if !lacks_slash || self.path.is_none() {
            return self.action(line).map(always);
        }
        let Action::Rewrite(mut rewrite) = self.of_rewrite(line)? else {
            return Ok(Step::default());
        };
        if rewrite.redirect.is_some() {
            return Ok(always(vec![Action::Rewrite(rewrite)]));
        }
        if !self.place.puts_slash || as_sent::is_told(self.block) {
            self.verdicts.add(line, Verdict::approximate(OWN_SLASH));
        }
        before.push(as_sent::empty(find, &rewrite.to)?);
        rewrite.to = Template(format!("/{}", rewrite.to.0));
        Ok(always(vec![Action::Rewrite(rewrite)]))
    }

    fn tell_what_is_lost(&mut self) {
        let text = "a request that no rewrite behind it takes is answered with 500; nginx looks for a location by the \
                    address as it was sent, and answers so unless it finds another";
        let lines = flattened(self.block.children());
        if let Some(line) = lines.into_iter().find(|line| as_sent::begins(line)) {
            self.verdicts.add(line, Verdict::approximate(text));
        }
    }

    /// Whether no request comes past what rewrites the address as it was sent.
    fn takes_all(&self) -> bool {
        let lines = flattened(self.block.children()).into_iter();
        let mut rewrites =
            lines.filter(|line| line.name == "rewrite" && line.argument(2) == Some("break"));
        rewrites.any(|line| as_sent::takes_all(line.argument(0).unwrap_or_default(), self.path))
    }

    fn action(&mut self, line: &'a Directive) -> Result<Vec<Action>, String> {
        let word = |index| line.argument(index).unwrap_or_default();
        Ok(match line.name.as_str() {
            "break" => vec![Action::Stop],
            "set" => {
                let (name, to) = (own_name(bare(word(0))), self.text(word(1))?);
                self.say_captured(line, word(1), captured::SET);
                if !is_legal(&name) {
                    return Err(format!("{} is no name of a variable in Forebay", word(0)));
                }
                vec![Action::Set(SetVariable { name, to })]
            }
            "return" => vec![self.of_return(line)?],
            _ if self.place.as_sent => {
                return Err("a rewrite of `$request_uri` in an `if`".to_owned());
            }
            _ => {
                let (find, to) = (word(0), word(1));
                if line.argument(2).is_none_or(|flag| ["last", "break"].contains(&flag))
                    && as_sent::may_lack_slash(find, to)
                    && !to.contains("://")
                {
                    self.verdicts.add(line, Verdict::approximate(NO_SLASH));
                }
                vec![self.of_rewrite(line)?]
            }
        })
    }

    fn of_return(&mut self, line: &Directive) -> Result<Action, String> {
        let first = line.argument(0).unwrap_or_default();
        let (status, text) = match (first.parse::<u16>(), line.argument(1)) {
            (Ok(status), text) => (status, text),
            // A URL alone.
            (Err(_), None) => (302, Some(first)),
            (Err(_), Some(_)) => {
                return Err(format!("nginx refuses it: invalid return code {first:?}"));
            }
        };
        let redirects = [301, 302, 303, 307, 308].contains(&status);
        Ok(match text {
            Some(to) if redirects => Action::Redirect(Redirect { to: self.location(to)?, status }),
            _ if status == 444 => {
                let text = "the connection is closed; the log has status 000 for it";
                self.verdicts.add(line, Verdict::approximate(text));
                Action::Close
            }
            _ if !(200..600).contains(&status) => {
                return Err(format!("{status} is no status Forebay answers with"));
            }
            None => Action::Respond(Respond { status, body: None, headers: BTreeMap::new() }),
            Some(text) => {
                if self.place.expression.is_none() {
                    self.say_captured(line, text, captured::TOLD);
                }
                let body = Some(self.said(text)?).filter(|body| !body.0.is_empty());
                // nginx leaves it out of 204 and 304 itself.
                let body = body.filter(|_| ![204, 205, 304].contains(&status));
                if status == 205 {
                    let text = "205 has no body (RFC 9110 section 15.3.6), and none is sent";
                    self.verdicts.add(line, Verdict::approximate(text));
                }
                let kind = self.content_type.clone();
                let headers = body.is_some().then(|| ("content-type".to_owned(), kind));
                Action::Respond(Respond { status, body, headers: headers.into_iter().collect() })
            }
        })
    }

    /// Where a redirect leads: nginx puts scheme, host and port before a path.
    fn location(&mut self, to: &str) -> Result<Template, String> {
        let template = self.text(to)?;
        let is_path = ["/", "${request_uri}", "${path}"].iter().any(|s| template.0.starts_with(s));
        Ok(match is_path && !template.0.starts_with("//") {
            true => Template(format!("{}{}", self.place.origin(), template.0)),
            false => template,
        })
    }

    fn of_rewrite(&mut self, line: &Directive) -> Result<Action, String> {
        self.rewrite_of(line, convert(line.argument(0).unwrap_or_default(), false)?)
    }

    fn rewrite_of(&mut self, line: &Directive, find: Regex) -> Result<Action, String> {
        let to = line.argument(1).unwrap_or_default();
        let is_url = ["http://", "https://", "$scheme"].iter().any(|start| to.starts_with(start));
        let redirect = match line.argument(2) {
            Some("permanent") => Some(301),
            Some("redirect") => Some(302),
            _ if is_url => Some(302),
            _ => None,
        };
        let after = match line.argument(2) {
            None | Some("redirect" | "permanent") => AfterRewrite::GoOn,
            Some("last") => AfterRewrite::Again,
            Some("break") => AfterRewrite::Stay,
            Some(other) => return Err(format!("nginx refuses it: invalid parameter \"{other}\"")),
        };
        let to = if redirect.is_some() { self.location(to)? } else { self.text(to)? };
        Ok(Action::Rewrite(RewriteStep { find, to, redirect, after }))
    }

    fn of_if(&mut self, line: &'a Directive) -> Result<Step, String> {
        let condition = self.condition(line)?;
        let mut then = Vec::new();
        let mut others = false;
        for inner in flattened(line.children()) {
            let name = inner.name.as_str();
            if OWN.contains(&name) {
                let actions = self.action(inner).inspect_err(|why| {
                    self.verdicts.add(inner, Verdict::unsupported(why.clone()));
                })?;
                self.verdicts.add(inner, Verdict::exact());
                then.extend(actions);
            } else if !HARMLESS.contains(&name) {
                others = true;
            }
        }
        if others {
            let name = (self.route_of_if)(line, self.names, self.verdicts)?;
            then.insert(0, Action::Route(name));
        }
        Ok(Step { when: vec![condition], then })
    }

    fn condition(&mut self, line: &Directive) -> Result<Condition, String> {
        let mut words: Vec<&str> = line.texts().collect();
        if let Some(first) = words.first_mut() {
            *first = first.strip_prefix('(').unwrap_or(first);
        }
        if let Some(last) = words.last_mut() {
            *last = last.strip_suffix(')').unwrap_or(last);
        }
        words.retain(|word| !word.is_empty());
        let (is, not, of) = match words.as_slice() {
            [variable] => (None, false, *variable),
            [test, path] if test.trim_start_matches('!').starts_with('-') => {
                let kind = match test.trim_start_matches('!') {
                    "-f" => PathKind::File,
                    "-d" => PathKind::Directory,
                    "-e" => PathKind::Anything,
                    "-x" => PathKind::Executable,
                    other => return Err(format!("nginx refuses it: condition {other:?}")),
                };
                (Some(ConditionTest::Path(kind)), test.starts_with('!'), *path)
            }
            // `$x = ""`, whose empty word was taken out above.
            [variable, "="] => (Some(ConditionTest::Equals(Template::default())), false, *variable),
            [variable, "!="] => (Some(ConditionTest::Equals(Template::default())), true, *variable),
            [variable, test @ ("=" | "!="), text] => {
                (Some(ConditionTest::Equals(self.shown(text)?)), test.starts_with('!'), *variable)
            }
            [variable, test @ ("~" | "~*" | "!~" | "!~*"), pattern] => {
                let ignore_case = test.ends_with('*');
                let regex = match captured::is_told(self.block) {
                    true => convert(pattern, ignore_case)?,
                    false => convert_test(pattern, ignore_case)?,
                };
                (Some(ConditionTest::Regex(regex)), test.starts_with('!'), *variable)
            }
            _ => return Err("its condition is not understood".to_owned()),
        };
        Ok(Condition { of: self.shown(of)?, is, not })
    }
}

/// The names of directives that only rewrite.
pub fn is_own(name: &str) -> bool {
    OWN.contains(&name)
}

/// Whether nothing of a place's own answers but files.
pub fn passes_nothing(scope: &Scope<'_>) -> bool {
    HANDLERS.iter().chain(&["return"]).all(|name| scope.own(name).is_empty())
}

/// Whether a directive of this name passes requests on.
pub fn passes(name: &str) -> bool {
    HANDLERS.contains(&name)
}
