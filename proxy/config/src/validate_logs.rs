//! Access logs: lines whose variables exist, and logs that routes name.

use crate::access_log::AccessLog;
use crate::config::Config;
use crate::ending::ENDINGS;
use crate::findings::{Findings, child, item};
use crate::leads::Leads;
use crate::log_line::LogLine;
use crate::suggest;
use crate::template::{Compiled, Scope};

pub(crate) fn check(config: &Config, findings: &mut Findings<'_>) {
    let leads = Leads::new(config);
    let scope = leads.scope();
    check_log(&config.access_log, &scope, "access_log", findings);
    for (name, log) in &config.access_logs {
        check_log(log, &scope, &child("access_logs", name), findings);
    }
    check_names(&config.error_log, config, "error_log", findings);
    for (index, route) in config.routes.iter().enumerate() {
        let path = format!("{}.error_logs", item("routes", index));
        check_names(route.error_logs.as_deref().unwrap_or_default(), config, &path, findings);
        for (at, name) in route.access_logs.iter().flatten().enumerate() {
            if config.access_logs.contains_key(name) {
                continue;
            }
            let path = item(format!("{}.access_logs", item("routes", index)), at);
            let known = config.access_logs.keys().map(String::as_str);
            let hint = match suggest::closest(name, known) {
                Some(close) => format!("did you mean `{close}`?"),
                None => "name a log under `access_logs`, or write `[]` for none".to_owned(),
            };
            findings.add(path, format!("there is no `{name}` under `access_logs`"), hint);
        }
    }
}

fn check_names(names: &[String], config: &Config, path: &str, findings: &mut Findings<'_>) {
    for (at, name) in names.iter().enumerate() {
        if config.error_logs.contains_key(name) {
            continue;
        }
        let hint = match suggest::closest(name, config.error_logs.keys().map(String::as_str)) {
            Some(close) => format!("did you mean `{close}`?"),
            None => "name a log under `error_logs`, or write `[]` for none".to_owned(),
        };
        findings.add(item(path, at), format!("there is no `{name}` under `error_logs`"), hint);
    }
}

fn check_log(log: &AccessLog, scope: &Scope<'_>, path: &str, findings: &mut Findings<'_>) {
    if let Some(text) = log.template()
        && let Err(error) = LogLine::new(text, log.escape, scope)
    {
        let own: Vec<&str> = ENDINGS.iter().map(|(name, ..)| *name).collect();
        let hint =
            format!("{}; a log also knows {}, and `answer_NAME`", error.hint, suggest::list(&own));
        findings.add(format!("{path}.format"), error.message, hint);
    }
    if let Some(when) = &log.when
        && let Err(error) = Compiled::new(&when.0, scope)
    {
        findings.add(format!("{path}.when"), error.message, error.hint);
    }
    for (index, name) in log.redact.iter().enumerate() {
        if name.is_empty() || name.contains(['=', '&', ':', ' ']) {
            let place = item(format!("{path}.redact"), index);
            let message = format!("`{name}` is not the name of a query parameter or header");
            findings.add(place, message, "write one such as `token` or `Authorization`");
        }
    }
}
