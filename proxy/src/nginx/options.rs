//! nginx's command line: letters behind one dash, a value in the same word or the next.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where Debian's nginx keeps things; what a unit file or a hook does not name is there.
pub const PREFIX: &str = "/usr/share/nginx";
pub const CONFIGURATION: &str = "/etc/nginx/nginx.conf";
pub const ERROR_LOG: &str = "/var/log/nginx/error.log";
pub const PID: &str = "/run/nginx.pid";

pub const HELP: &str = "\
Usage: nginx [-?hvVtTq] [-s signal] [-p prefix]
             [-e filename] [-c filename] [-g directives]

Options:
  -?,-h         : this help
  -v            : show version and exit
  -V            : show version and configure options then exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to a master process: stop, quit, reopen, reload
  -p prefix     : set prefix path (default: /usr/share/nginx/)
  -e filename   : set error log file (default: /var/log/nginx/error.log)
  -c filename   : set configuration file (default: /etc/nginx/nginx.conf)
  -g directives : set global directives out of configuration file

This is Forebay's proxy, called as nginx is. What of nginx.conf it cannot do it refuses, with
the line; `forebay-nginx report` says of every directive how exactly it is kept.

";

/// What one call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Help,
    Version,
    Build,
    Test { dump: bool },
    Signal(Wanted),
    Run,
}

/// What `-s` may ask of the process that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Stop,
    Quit,
    Reopen,
    Reload,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub task: Task,
    pub quiet: bool,
    /// Absolute, where what nginx.conf names without a slash in front begins.
    pub prefix: PathBuf,
    pub configuration: PathBuf,
    /// As written: a path, or `stderr`.
    pub error_log: String,
    /// Directives that stand ahead of the file's.
    pub globals: String,
    /// Where relative names on the command line begin.
    pub called_in: PathBuf,
}

/// Reads the command line; the error is what nginx would say.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Options, String> {
    let mut words = Words { arguments: arguments.map(text).collect::<Result<Vec<_>, _>>()?, at: 0 };
    let (mut prefix, mut configuration, mut error_log) = (None, None, None);
    let (mut globals, mut signal) = (String::new(), None);
    let (mut help, mut version, mut build) = (false, false, false);
    let (mut test, mut dump, mut quiet) = (false, false, false);
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-') else {
            return Err(format!("invalid option: \"{word}\""));
        };
        for (at, letter) in letters.char_indices() {
            let rest = &letters[at + letter.len_utf8()..];
            match letter {
                '?' | 'h' => help = true,
                'v' => version = true,
                'V' => build = true,
                't' => test = true,
                'T' => (test, dump) = (true, true),
                'q' => quiet = true,
                'p' => prefix = Some(words.value(rest, "-p", "directory name")?),
                'c' => configuration = Some(words.value(rest, "-c", "file name")?),
                'e' => error_log = Some(words.value(rest, "-e", "file name")?),
                'g' => globals = words.value(rest, "-g", "parameter")?,
                's' => signal = Some(wanted(&words.value(rest, "-s", "parameter")?)?),
                other => return Err(format!("invalid option: \"{other}\"")),
            }
            if "pcegs".contains(letter) {
                break;
            }
        }
    }
    let task = match signal {
        _ if help => Task::Help,
        _ if build => Task::Build,
        _ if version => Task::Version,
        Some(signal) => Task::Signal(signal),
        None if test => Task::Test { dump },
        None => Task::Run,
    };
    let here = std::env::current_dir().unwrap_or_default();
    let prefix = here.join(prefix.as_deref().unwrap_or(PREFIX));
    Ok(Options {
        task,
        quiet,
        configuration: prefix.join(configuration.as_deref().unwrap_or(CONFIGURATION)),
        error_log: error_log.unwrap_or_else(|| ERROR_LOG.to_owned()),
        prefix,
        globals,
        called_in: here,
    })
}

fn text(argument: OsString) -> Result<String, String> {
    argument.into_string().map_err(|word| format!("invalid option: {}", word.to_string_lossy()))
}

fn wanted(text: &str) -> Result<Wanted, String> {
    Ok(match text {
        "stop" => Wanted::Stop,
        "quit" => Wanted::Quit,
        "reopen" => Wanted::Reopen,
        "reload" => Wanted::Reload,
        other => return Err(format!("invalid option: \"-s {other}\"")),
    })
}

struct Words {
    arguments: Vec<String>,
    at: usize,
}

impl Words {
    fn next(&mut self) -> Option<String> {
        self.at += 1;
        self.arguments.get(self.at - 1).cloned()
    }

    /// The rest of the word, or the next one.
    fn value(&mut self, rest: &str, option: &str, what: &str) -> Result<String, String> {
        let value = if rest.is_empty() { self.next() } else { Some(rest.to_owned()) };
        let value = value.filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("option \"{option}\" requires {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Result<Options, String> {
        parse(line.iter().map(OsString::from))
    }

    #[test]
    fn letters_and_values_as_nginx_reads_them() {
        let options = parsed(&["-p", "/srv/", "-cconf/n.conf", "-e", "stderr", "-tq"]).unwrap();
        assert_eq!(options.task, Task::Test { dump: false });
        assert!(options.quiet);
        assert_eq!(options.configuration, PathBuf::from("/srv/conf/n.conf"));
        assert_eq!(options.error_log, "stderr");
        assert_eq!(parsed(&["-T"]).unwrap().task, Task::Test { dump: true });
        assert_eq!(parsed(&["-g", "daemon off;"]).unwrap().globals, "daemon off;");
        assert_eq!(parsed(&["-s", "quit"]).unwrap().task, Task::Signal(Wanted::Quit));
        assert_eq!(parsed(&["-V", "-t"]).unwrap().task, Task::Build);
        assert_eq!(parsed(&[]).unwrap().configuration, PathBuf::from(CONFIGURATION));
    }

    #[test]
    fn what_nginx_refuses() {
        for (line, fault) in [
            (&["run"][..], "invalid option: \"run\""),
            (&["-x"], "invalid option: \"x\""),
            (&["-c"], "option \"-c\" requires file name"),
            (&["-p"], "option \"-p\" requires directory name"),
            (&["-s", "halt"], "invalid option: \"-s halt\""),
        ] {
            assert_eq!(parsed(line), Err(fault.to_owned()));
        }
    }
}
