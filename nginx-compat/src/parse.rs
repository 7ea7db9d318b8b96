//! Words into a tree. A fault does not end the reading: all faults of all files are gathered, each
//! at the line where nginx would name it.

use std::path::{Path, PathBuf};

use crate::include::{self, Includes};
use crate::lex::{Lexer, Token, TokenKind};
use crate::place::{Files, Place};
use crate::problem::Problem;
use crate::tree::{Body, Directive, Document, Word};

/// Blocks within blocks, included files counted through.
pub const DEPTH_MAX: usize = 64;
/// Files that include one another.
pub const INCLUDE_DEPTH_MAX: usize = 16;
/// Files read for one configuration.
pub const FILES_MAX: usize = 4_096;
/// Directives of one configuration.
pub const DIRECTIVES_MAX: usize = 500_000;
/// Problems gathered before reading ends.
pub const PROBLEMS_MAX: usize = 200;

/// A configuration and all that is wrong with its form.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    pub document: Document,
    pub problems: Vec<Problem>,
}

/// Reads a file and what it includes; relative patterns start at `prefix`, or at the file's own
/// directory. An error means that the main file itself could not be read.
pub fn parse_file(path: &Path, prefix: Option<&Path>) -> Result<Parsed, String> {
    parse_file_after("", path, prefix)
}

/// As [`parse_file`], with directives that stand ahead of the file's: those of nginx's `-g`.
pub fn parse_file_after(
    globals: &str,
    path: &Path,
    prefix: Option<&Path>,
) -> Result<Parsed, String> {
    let (text, lossy) = include::read(path)?;
    let prefix = prefix.or_else(|| path.parent()).unwrap_or(Path::new("")).to_owned();
    let mut parser = Parser::new(Includes::Under(prefix));
    let mut ahead = match globals {
        "" => Vec::new(),
        globals => parser.file("command line".to_owned(), globals, false),
    };
    parser.open.extend(path.canonicalize());
    let mut parsed = parser.finish(path.display().to_string(), &text, lossy);
    ahead.append(&mut parsed.document.directives);
    parsed.document.directives = ahead;
    Ok(parsed)
}

/// Reads bytes that are not, or not yet, a file.
pub fn parse_bytes(name: &str, bytes: &[u8], includes: Includes) -> Parsed {
    let (text, lossy) = include::decode(bytes.to_vec());
    Parser::new(includes).finish(name.to_owned(), &text, lossy)
}

struct Parser {
    includes: Includes,
    files: Files,
    problems: Vec<Problem>,
    count: usize,
    /// The files being read, outermost first: a file among them must not be included again.
    open: Vec<PathBuf>,
    depth: usize,
    stopped: bool,
}

/// A block whose `}` has not come yet.
struct Frame {
    /// `None`: the file itself, or a `{` without a name, whose content is read and dropped.
    opener: Option<Directive>,
    place: Place,
    inner: Vec<Directive>,
}

impl Parser {
    fn new(includes: Includes) -> Parser {
        Parser {
            includes,
            files: Files::default(),
            problems: Vec::new(),
            count: 0,
            open: Vec::new(),
            depth: 0,
            stopped: false,
        }
    }

    fn finish(mut self, name: String, text: &str, lossy: bool) -> Parsed {
        let directives = self.file(name, text, lossy);
        self.problems.sort_by_key(|problem| problem.place);
        let document = Document { files: self.files, directives, count: self.count };
        Parsed { document, problems: self.problems }
    }

    fn problem(&mut self, problem: Problem) {
        if self.stopped {
            return;
        }
        let place = problem.place;
        self.problems.push(problem);
        if self.problems.len() >= PROBLEMS_MAX {
            self.stop(place, format!("more than {PROBLEMS_MAX} problems; the rest is not read"));
        }
    }

    fn stop(&mut self, place: Place, message: String) {
        self.stopped = true;
        self.problems.push(Problem::new(place, message));
    }

    fn file(&mut self, name: String, text: &str, lossy: bool) -> Vec<Directive> {
        let file = self.files.add(name);
        let mut lexer = Lexer::new(text, file);
        let mut words: Vec<Word> = Vec::new();
        let bottom = Frame { opener: None, place: lexer.place(), inner: Vec::new() };
        let mut stack = vec![bottom];
        while !self.stopped {
            let Token { kind, place } = match lexer.next_token() {
                Ok(token) => token,
                Err(problem) => {
                    self.problem(problem);
                    continue;
                }
            };
            match kind {
                TokenKind::Word(text) => {
                    if lossy && text.contains('\u{fffd}') {
                        self.problem(not_utf8(place));
                    }
                    words.push(Word { text, place });
                }
                TokenKind::Semicolon => self.statement(&mut words, place, &mut stack),
                TokenKind::Open => self.open_block(&mut words, place, &mut stack, &mut lexer),
                TokenKind::Close => {
                    if !words.is_empty() {
                        self.unterminated(&words, place);
                        self.statement(&mut words, place, &mut stack);
                    }
                    self.close_block(place, &mut stack);
                }
                TokenKind::End => {
                    self.end(&words, place, &stack);
                    break;
                }
            }
        }
        while stack.len() > 1 {
            self.close_top(&mut stack);
        }
        stack.pop().map_or_else(Vec::new, |frame| frame.inner)
    }

    fn statement(&mut self, words: &mut Vec<Word>, end: Place, stack: &mut [Frame]) {
        let Some(mut directive) = self.directive(words, end) else {
            return self.problem(Problem::new(end, "unexpected \";\""));
        };
        if directive.name == "include" && directive.arguments.len() == 1 {
            directive.body = self.include(&directive);
        }
        push(stack, directive);
    }

    fn open_block(
        &mut self,
        words: &mut Vec<Word>,
        place: Place,
        stack: &mut Vec<Frame>,
        lexer: &mut Lexer<'_>,
    ) {
        let opener = self.directive(words, place);
        match &opener {
            None => self.problem(Problem::new(place, "unexpected \"{\"")),
            Some(directive) if directive.name.ends_with("_by_lua_block") => {
                let mut directive = directive.clone();
                let code = lexer.lua_block();
                if code.is_none() {
                    self.stop(place, format!("the Lua block \"{}\" has no end", directive.name));
                }
                directive.body = Body::Lua(code.unwrap_or_default());
                return push(stack, directive);
            }
            Some(_) => {}
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            self.stop(place, format!("blocks are nested more than {DEPTH_MAX} deep"));
        }
        stack.push(Frame { opener, place, inner: Vec::new() });
    }

    fn close_block(&mut self, place: Place, stack: &mut Vec<Frame>) {
        if stack.len() > 1 {
            self.close_top(stack);
        } else {
            let problem = Problem::new(place, "unexpected \"}\"");
            self.problem(problem.hint("no block of this file is open here"));
        }
    }

    fn close_top(&mut self, stack: &mut Vec<Frame>) {
        let Some(frame) = stack.pop() else { return };
        self.depth -= 1;
        if let Some(mut directive) = frame.opener {
            directive.body = Body::Block(frame.inner);
            push(stack, directive);
        } else {
            self.count -= frame.inner.iter().map(count).sum::<usize>();
        }
    }

    fn end(&mut self, words: &[Word], place: Place, stack: &[Frame]) {
        if let Some(first) = words.first() {
            let problem = Problem::new(place, "unexpected end of file, expecting \";\" or \"}\"");
            let hint = format!("\"{}\" in line {} has no end", first.text, first.place.line);
            self.problem(problem.hint(hint));
        }
        for frame in &stack[1..] {
            let name = frame.opener.as_ref().map_or(String::new(), Directive::heading);
            let problem = Problem::new(place, "unexpected end of file, expecting \"}\"");
            self.problem(problem.hint(format!(
                "the block \"{name}\" opened in line {} is never closed",
                frame.place.line
            )));
        }
    }

    fn unterminated(&mut self, words: &[Word], place: Place) {
        if let (Some(first), Some(last)) = (words.first(), words.last()) {
            let line = last.place.line;
            let hint = format!("\"{}\" needs a \";\" at the end of line {line}", first.text);
            self.problem(Problem::new(place, "unexpected \"}\"").hint(hint));
        }
    }

    fn directive(&mut self, words: &mut Vec<Word>, end: Place) -> Option<Directive> {
        let mut words = std::mem::take(words).into_iter();
        let name = words.next()?;
        if self.count >= DIRECTIVES_MAX && !self.stopped {
            self.stop(end, format!("more than {DIRECTIVES_MAX} directives"));
        }
        let id = self.count;
        self.count += 1;
        Some(Directive {
            id,
            name: name.text,
            arguments: words.collect(),
            body: Body::Simple,
            start: name.place,
            end,
        })
    }

    fn include(&mut self, directive: &Directive) -> Body {
        let Includes::Under(prefix) = self.includes.clone() else { return Body::Simple };
        let pattern = directive.argument(0).unwrap_or_default();
        let mut inner = Vec::new();
        match include::files(&prefix, pattern) {
            Ok(paths) => {
                for path in paths {
                    inner.extend(self.included_file(&path, directive.end));
                }
            }
            Err(message) => self.problem(Problem::new(directive.end, message)),
        }
        Body::Include(inner)
    }

    fn included_file(&mut self, path: &Path, place: Place) -> Vec<Directive> {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let fault = if self.open.contains(&real) {
            format!("\"{}\" includes itself", path.display())
        } else if self.open.len() > INCLUDE_DEPTH_MAX {
            format!("files include one another more than {INCLUDE_DEPTH_MAX} deep")
        } else if self.files.len() >= FILES_MAX {
            format!("more than {FILES_MAX} files")
        } else {
            match include::read(path) {
                Ok((text, lossy)) => {
                    self.open.push(real);
                    let inner = self.file(path.display().to_string(), &text, lossy);
                    self.open.pop();
                    return inner;
                }
                Err(message) => message,
            }
        };
        self.problem(Problem::new(place, fault));
        Vec::new()
    }
}

fn push(stack: &mut [Frame], directive: Directive) {
    if let Some(frame) = stack.last_mut() {
        frame.inner.push(directive);
    }
}

fn count(directive: &Directive) -> usize {
    1 + directive.children().iter().map(count).sum::<usize>()
}

fn not_utf8(place: Place) -> Problem {
    Problem::new(place, "this word is not UTF-8 text")
        .hint("convert the file, for example with iconv -f latin1 -t utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Parsed {
        parse_bytes("t.conf", text.as_bytes(), Includes::Unfollowed)
    }

    fn faults(text: &str) -> Vec<String> {
        let said = |p: &Problem| format!("{}: {}", p.place.line, p.message);
        parse(text).problems.iter().map(said).collect()
    }

    #[test]
    fn all_faults_of_a_file_are_reported_at_the_lines_nginx_names() {
        let cases: &[(&str, &[&str])] = &[
            ("a b;\n;\nc d;", &["2: unexpected \";\""]),
            ("http {\n listen 80\n}\nx;", &["3: unexpected \"}\""]),
            ("a b;\n}\n", &["2: unexpected \"}\""]),
            ("{ a b; }\n}", &["1: unexpected \"{\"", "2: unexpected \"}\""]),
            ("a b", &["1: unexpected end of file, expecting \";\" or \"}\""]),
            ("a {\n b;\n", &["3: unexpected end of file, expecting \"}\""]),
            ("a \"x\"y;\n;", &["1: unexpected \"y\"", "2: unexpected \";\""]),
        ];
        for (text, expected) in cases {
            assert_eq!(faults(text), *expected, "{text}");
        }
    }

    #[test]
    fn what_is_around_a_fault_is_still_read() {
        let parsed = parse("http {\n listen 80\n}\nserver_tokens off;");
        let names: Vec<_> = parsed.document.directives.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["http", "server_tokens"]);
        assert_eq!(parsed.document.directives[0].children()[0].name, "listen");
    }

    #[test]
    fn nesting_has_a_limit_and_does_not_overflow() {
        let deep = "a {".repeat(1_000_000);
        let parsed = parse(&deep);
        assert!(parsed.problems[0].message.contains("64 deep"), "{:?}", parsed.problems[0]);
        assert!(faults(&format!("{}{}", "a {".repeat(64), "}".repeat(64))).is_empty());
    }

    #[test]
    fn garbage_gives_a_bounded_number_of_problems() {
        assert_eq!(faults(&";".repeat(100_000)).len(), PROBLEMS_MAX + 1);
    }

    #[test]
    fn words_that_are_not_text_are_refused_but_comments_may_hold_anything() {
        let latin = |text: &[u8]| parse_bytes("t", text, Includes::Unfollowed).problems;
        assert_eq!(latin(b"# caf\xe9\na b;").len(), 0);
        assert_eq!(latin(b"a caf\xe9;").len(), 1);
    }

    #[test]
    fn lua_blocks_are_one_directive() {
        let parsed = parse("content_by_lua_block { if x then y = {1} end -- }\n } a b;");
        assert!(parsed.problems.is_empty());
        assert_eq!(parsed.document.count, 2);
        assert!(
            matches!(&parsed.document.directives[0].body, Body::Lua(code) if code.contains("{1}"))
        );
    }
}
