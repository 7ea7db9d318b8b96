//! The questions of `forebay init`, and the file that the answers make. A value is written as one quoted
//! text, so that no answer can be more than itself.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use serde_json::Value;
use tera::{Context, Tera};

use crate::validate;

const AWS: &str = include_str!("../../templates/starter-aws.yaml");

/// What is asked: the flag that answers it beforehand, the question, what is taken when nothing is typed,
/// which answers fit, and what those look like.
pub struct Question {
    pub flag: &'static str,
    text: &'static str,
    default: Option<&'static str>,
    fits: fn(&str) -> bool,
    looks_like: &'static str,
}

/// In the order in which they are asked.
pub const QUESTIONS: [Question; 11] = [
    Question {
        flag: "name",
        text: "What is the environment called?",
        default: Some("my-environment"),
        fits: validate::is_name,
        looks_like: "small letters, digits and `-`, a letter first, at most 40",
    },
    Question {
        flag: "account",
        text: "In which account of AWS is it to stand?",
        default: None,
        fits: |text| text.len() == 12 && text.bytes().all(|c| c.is_ascii_digit()),
        looks_like: "twelve digits",
    },
    Question {
        flag: "region",
        text: "In which region?",
        default: Some("eu-central-1"),
        fits: validate::is_region,
        looks_like: "as AWS writes it: eu-central-1",
    },
    Question {
        flag: "releases",
        text: "Which bucket holds its releases?",
        default: None,
        fits: |text| (3..=63).contains(&text.len()) && text.bytes().all(is_of_bucket),
        looks_like: "the name of a bucket that is there: acme-forebay-releases",
    },
    Question {
        flag: "domain",
        text: "By which name do people reach it?",
        default: None,
        fits: validate::is_domain,
        looks_like: "a domain: live.example.com",
    },
    Question {
        flag: "hosted-zone",
        text: "Which zone of Route 53 holds that name?",
        default: None,
        fits: |text| text.starts_with('Z') && text.len() <= 32 && text.bytes().all(is_of_zone),
        looks_like: "its id: Z0123456789ABCDEFGHIJ",
    },
    Question {
        flag: "origin",
        text: "Where do live streams come from?",
        default: None,
        fits: |text| {
            text.parse::<proxy_config::address::ServerAddress>().is_ok()
                && !text.starts_with("unix:")
        },
        looks_like: "a server and its port: packager.example.com:80",
    },
    Question {
        flag: "database",
        text: "Which database is the ledger to keep its books in?",
        default: Some("mysql"),
        fits: |text| ["mysql", "mariadb", "postgres", "none"].contains(&text),
        looks_like: "mysql, mariadb or postgres; none for no ledger",
    },
    Question {
        flag: "size",
        text: "How large is it to be?",
        default: Some("production"),
        fits: |text| ["production", "small"].contains(&text),
        looks_like: "production, which survives the loss of a zone, or small, which does not",
    },
    Question {
        flag: "email",
        text: "Who is told when something is wrong?",
        default: None,
        fits: validate::is_email,
        looks_like: "an address of mail: sre@example.com",
    },
    Question {
        flag: "budget",
        text: "How many US dollars may it cost a month?",
        default: Some("4000"),
        fits: |text| text.parse::<u32>().is_ok_and(|dollars| dollars > 0),
        looks_like: "a whole number",
    },
];

fn is_of_bucket(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-'
}

fn is_of_zone(c: u8) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit()
}

/// Answers, by the flags of their questions.
pub type Answers = BTreeMap<&'static str, String>;

/// What is wrong with an answer that was given beforehand.
pub fn misfit(question: &Question, answer: &str) -> Option<String> {
    (!(question.fits)(answer))
        .then(|| format!("--{} `{answer}`: write {}", question.flag, question.looks_like))
}

/// The answers nobody has to be asked for; the error names the flags that are missing.
pub fn without_asking(mut given: Answers) -> Result<Answers, String> {
    let mut missing = Vec::new();
    for question in &QUESTIONS {
        match (given.contains_key(question.flag), question.default) {
            (true, _) => {}
            (false, Some(default)) => {
                given.insert(question.flag, default.to_owned());
            }
            (false, None) => missing.push(format!("--{} ({})", question.flag, question.looks_like)),
        }
    }
    if missing.is_empty() {
        return Ok(given);
    }
    Err(format!("there is nobody to ask; say {}", missing.join(", ")))
}

/// Asks for what was not given. An answer that does not fit is asked for again; the end of the input is
/// the end of asking.
pub fn ask(
    mut given: Answers,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> io::Result<Answers> {
    for question in &QUESTIONS {
        while !given.contains_key(question.flag) {
            let default = question.default.map(|it| format!(" [{it}]")).unwrap_or_default();
            write!(out, "{}{default} ", question.text)?;
            out.flush()?;
            let mut answer = String::new();
            if input.read_line(&mut answer)? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "nobody answers any more",
                ));
            }
            let answer = match (answer.trim(), question.default) {
                ("", Some(default)) => default,
                (typed, _) => typed,
            };
            if (question.fits)(answer) {
                given.insert(question.flag, answer.to_owned());
            } else {
                writeln!(out, "  write {}", question.looks_like)?;
            }
        }
    }
    Ok(given)
}

/// The file that the answers make.
pub fn written(answers: &Answers) -> Result<String, tera::Error> {
    let mut context = Context::new();
    for (flag, answer) in answers {
        context.insert(flag.replace('-', "_"), answer);
    }
    let is = |flag: &str, answer: &str| answers.get(flag).is_some_and(|it| it == answer);
    // The one answer that is no text.
    context.insert("budget", &answers.get("budget").and_then(|it| it.parse::<u32>().ok()));
    context.insert("ledger", &!is("database", "none"));
    context.insert("small", &is("size", "small"));
    let mut tera = Tera::default();
    // What is text in JSON is the same text in YAML.
    tera.set_escape_fn(|text, out| out.write_all(Value::from(text).to_string().as_bytes()));
    tera.autoescape_on(["yaml"]);
    tera.add_raw_template("starter-aws.yaml", AWS)?;
    tera.render("starter-aws.yaml", &context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPED: &str = "\nnot-digits\n123456789012\n\nacme-releases\nlive.example.com\n\
        Z0123456789\npackager.example.com:80\npostgres\nsmall\nsre@example.com\n\n";

    fn asked(given: Answers, typed: &str) -> io::Result<(Answers, String)> {
        let mut out = Vec::new();
        let answers = ask(given, &mut typed.as_bytes(), &mut out)?;
        Ok((answers, String::from_utf8(out).unwrap()))
    }

    #[test]
    fn what_does_not_fit_is_asked_again_and_defaults_need_no_typing() {
        let (answers, out) = asked(Answers::new(), TYPED).unwrap();
        assert_eq!(answers["name"], "my-environment");
        assert_eq!(answers["account"], "123456789012");
        assert_eq!(
            (answers["database"].as_str(), answers["budget"].as_str()),
            ("postgres", "4000")
        );
        assert_eq!(out.matches("In which account of AWS").count(), 2, "{out}");
        assert!(out.contains("  write twelve digits\n"), "{out}");
    }

    #[test]
    fn what_was_given_is_not_asked_and_an_end_is_an_end() {
        let given = Answers::from([("account", "123456789012".to_owned())]);
        let error = asked(given, "a-name\n").unwrap_err();
        assert_eq!(error.to_string(), "nobody answers any more");
        let told = without_asking(Answers::from([("name", "x".to_owned())])).unwrap_err();
        assert!(told.contains("--hosted-zone (its id") && !told.contains("--region"), "{told}");
    }

    #[test]
    fn an_answer_is_one_value_whatever_it_says() {
        let (mut answers, _) = asked(Answers::new(), TYPED).unwrap();
        answers.insert("email", "a\"\nledger: {}".to_owned());
        let text = written(&answers).unwrap();
        assert!(text.contains(r#"email: "a\"\nledger: {}""#), "{text}");
    }
}
