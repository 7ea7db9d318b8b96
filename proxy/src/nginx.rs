//! The proxy, called as nginx is: `nginx -c nginx.conf`. What service managers, certbot's hooks and
//! test suites know of nginx's command line, files and signals holds here too.
//!
//! 1. [`options`]: the command line, read as nginx reads it.
//! 2. [`configuration`]: nginx.conf through `forebay_nginx`'s translation, or everything that is
//!    wrong with it; [`settings`]: what of it concerns the process and not its requests.
//! 3. [`dump`], [`modules`], [`signal`]: what `-T`, `-V` and `-s` do instead of serving.
//! 4. [`start`]: serving in the foreground or, through [`daemon`], behind it; [`error_log`] and the
//!    pid file are nginx's.

use std::ffi::OsString;
use std::process::ExitCode;

pub mod configuration;
pub mod daemon;
pub mod dump;
pub mod error_log;
pub mod modules;
pub mod options;
pub mod settings;
pub mod signal;
pub mod start;

use configuration::Source;
use error_log::{Level, Told, first_log, tell};
use options::{Options, Task};

/// Does what the command line says; 0 when it went well, 1 when not, as nginx has it.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // Scripts that signal nginx look for a process of that name; nothing else is lost without it.
    let _ = rustix::thread::set_name(c"nginx");
    let options = match options::parse(arguments) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("nginx: {fault}");
            return ExitCode::FAILURE;
        }
    };
    // A prefix that is not there matters only to who names something in it.
    let _ = std::env::set_current_dir(&options.prefix);
    let done = match options.task {
        Task::Help => {
            eprint!("{}{}", modules::version(), options::HELP);
            Ok(())
        }
        Task::Version => {
            eprint!("{}", modules::version());
            Ok(())
        }
        Task::Build => {
            eprint!("{}{}", modules::version(), modules::build());
            Ok(())
        }
        Task::Test { dump } => test(&options, dump),
        Task::Signal(wanted) => {
            signal::send(&Source::new(&options), wanted, &first_log(&options.error_log))
        }
        Task::Run => start::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Told) => ExitCode::FAILURE,
    }
}

/// `-t` and `-T`.
fn test(options: &Options, dump: bool) -> Result<(), Told> {
    let log = first_log(&options.error_log);
    let source = Source::new(options);
    let name = source.file.display();
    match source.read() {
        Ok(loaded) => {
            if let Some(fault) = start::faults(&loaded) {
                tell(&log, Level::Emerg, &fault);
                eprintln!("nginx: configuration file {name} test failed");
                return Err(Told);
            }
            if !options.quiet {
                eprintln!("nginx: the configuration file {name} syntax is ok");
                eprintln!("nginx: configuration file {name} test is successful");
            }
            if dump {
                dump::print(&loaded.files);
            }
            Ok(())
        }
        Err(faults) => {
            for fault in faults {
                tell(&log, Level::Emerg, &fault);
            }
            eprintln!("nginx: configuration file {name} test failed");
            Err(Told)
        }
    }
}
