//! Serving: from a configuration to a process that does what nginx's signals say.

use std::path::Path;
use std::sync::Arc;

use super::configuration::{Loaded, Source};
use super::daemon;
use super::error_log::{ErrorLog, Level, Sink, Told, first_log, open_failed, tell};
use super::options::Options;
use super::settings::Settings;
use crate::listen::write_whole;
use crate::logs::Logs;
use crate::reload::ReloadFault;
use crate::server::{self, Manner, Orders, StartFault};
use crate::tls;
use crate::tls::kept::Kept;
use crate::unfit::Unfit;

/// Runs until a signal ends it.
pub fn run(options: &Options) -> Result<(), Told> {
    let first = first_log(&options.error_log);
    let refuse = |fault: &str| {
        tell(&first, Level::Emerg, fault);
        Told
    };
    let source = Source::new(options);
    let loaded = source.read().map_err(|faults| {
        faults.iter().for_each(|fault| tell(&first, Level::Emerg, fault));
        Told
    })?;
    let sinks = sinks(&loaded.settings, options).map_err(|fault| refuse(&fault))?;
    if let Some(fault) = wrong_user(&loaded.settings) {
        return Err(refuse(&fault));
    }
    let behind = !loaded.settings.in_foreground;
    if behind && !daemon::is_behind() {
        return match daemon::launch(&options.called_in) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Told),
            Err(error) => Err(refuse(&format!("the process cannot be started: {error}"))),
        };
    }
    if behind {
        daemon::leave_session().map_err(|error| refuse(&format!("setsid() failed: {error}")))?;
    }
    serve(loaded, source, options, &ErrorLog::start(sinks), behind)
}

fn serve(
    loaded: Loaded,
    source: Source,
    options: &Options,
    log: &ErrorLog,
    behind: bool,
) -> Result<(), Told> {
    for difference in &loaded.differences {
        tracing::info!("{difference}");
    }
    let pid = loaded.settings.pid.clone();
    let (told, told_pid, reading) = (log.clone(), pid.clone(), log.clone());
    let (reopening, options) = (log.clone(), options.clone());
    let manner = Manner {
        ready: Box::new(move |_| {
            let fault = |error| StartFault::Told { path: told_pid.clone(), error };
            let text = format!("{}\n", std::process::id());
            write_whole(&told_pid, text.as_bytes()).map_err(fault)?;
            if behind { told.take_stderr(daemon::serving).map_err(fault) } else { Ok(()) }
        }),
        orders: Orders {
            read: Arc::new(move || read_again(&source, &options, &reading)),
            reopen: Arc::new(move || reopening.reopen()),
            moved: Arc::new(|_| {}),
        },
    };
    let end = server::run(loaded.config, manner);
    end.map_err(|fault| {
        log.tell(Level::Emerg, &said(&fault));
        Told
    })?;
    forget(&pid);
    Ok(())
}

/// Only its own: another process may have written it since.
fn forget(pid: &Path) {
    let own = std::process::id().to_string();
    if std::fs::read_to_string(pid).is_ok_and(|text| text.trim() == own) {
        // Gone already is gone enough.
        let _ = std::fs::remove_file(pid);
    }
}

fn read_again(
    source: &Source,
    options: &Options,
    log: &ErrorLog,
) -> Result<proxy_config::Config, ReloadFault> {
    tracing::info!("reconfiguring");
    let loaded = source.read().map_err(|faults| ReloadFault::Refused(faults.join("; ")))?;
    log.retarget(sinks(&loaded.settings, options).map_err(ReloadFault::Refused)?);
    Ok(loaded.config)
}

/// What only opening things shows to be wrong.
pub fn faults(loaded: &Loaded) -> Option<String> {
    let kept = Kept::looking();
    let tls =
        loaded.config.listeners.iter().find_map(|(name, of)| tls::spoken(name, of, &kept).err());
    let logs = || Logs::open(&loaded.config, None).err().map(|fault| fault.to_string());
    tls.map(|fault| fault.to_string()).or_else(logs)
}

fn sinks(settings: &Settings, options: &Options) -> Result<Vec<Sink>, String> {
    if settings.error_logs.is_empty() {
        return Ok(vec![Sink::open(&options.error_log, Level::Error)?]);
    }
    settings.error_logs.iter().map(|(target, level)| Sink::open(target, *level)).collect()
}

/// nginx gives up root's rights for this user; here the service manager starts it as that user.
fn wrong_user(settings: &Settings) -> Option<String> {
    let user = settings.user.as_deref().filter(|user| *user != "root")?;
    rustix::process::geteuid().is_root().then(|| {
        format!(
            "\"user {user}\" is to serve and root was to start it; let the service manager start \
             it as {user}, with CAP_NET_BIND_SERVICE for ports below 1024"
        )
    })
}

fn said(fault: &StartFault) -> String {
    match fault {
        StartFault::Unfit(Unfit::Bind(fault)) => {
            format!("bind() to {} failed ({})", fault.address, fault.why)
        }
        StartFault::Told { path, error } => open_failed(&path.display().to_string(), error),
        fault => fault.to_string(),
    }
}
