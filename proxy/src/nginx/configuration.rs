//! nginx.conf as a configuration of the proxy: read, translated, checked, or everything that is
//! wrong with it in nginx's words.

use std::path::PathBuf;

use forebay_nginx::check::check;
use forebay_nginx::parse::parse_file_after;
use forebay_nginx::report::Report;
use forebay_nginx::translate::{Translation, error_log, translate};
use forebay_nginx::tree::Document;
use proxy_config::Config;
use proxy_config::access_log::LogTarget;
use proxy_config::error_answers::ErrorAnswers;
use proxy_config::error_log::ErrorLog;
use proxy_config::severity::Severity;
use proxy_config::units::Duration;

use super::options::Options;
use super::settings::Settings;

/// Address of the admin listener; without it, any free port of loopback.
pub const ADMIN: &str = "FOREBAY_ADMIN";

/// nginx waits for requests under way as long as they take.
const NO_LIMIT: u64 = 24 * 3600 * 1000;

/// Where a configuration comes from; a reload reads it again.
#[derive(Clone, Debug)]
pub struct Source {
    pub file: PathBuf,
    globals: String,
    /// Where errors are told unless the file says otherwise.
    error_log: String,
}

/// A configuration that the proxy can run.
pub struct Loaded {
    pub config: Config,
    pub settings: Settings,
    /// Paths of the files it consists of, in the order they were opened.
    pub files: Vec<String>,
    /// What is not quite as in nginx, each with its place.
    pub differences: Vec<String>,
}

impl Source {
    pub fn new(options: &Options) -> Source {
        Source {
            file: options.configuration.clone(),
            globals: options.globals.clone(),
            error_log: options.error_log.clone(),
        }
    }

    /// Reads the settings alone, as much of them as can be read.
    pub fn settings(&self) -> Result<Settings, String> {
        let parsed = parse_file_after(&self.globals, &self.file, None)?;
        Settings::of(&parsed.document)
    }

    /// Everything at once, or all that is wrong.
    pub fn read(&self) -> Result<Loaded, Vec<String>> {
        let parsed = parse_file_after(&self.globals, &self.file, None);
        let mut parsed = parsed.map_err(|fault| vec![fault])?;
        parsed.problems.extend(check(&parsed.document));
        parsed.problems.sort_by_key(|problem| problem.place);
        let document = parsed.document;
        if !parsed.problems.is_empty() {
            let text = |problem: &forebay_nginx::problem::Problem| {
                format!("{} in {}", problem.message, document.files.line(problem.place))
            };
            return Err(parsed.problems.iter().map(text).collect());
        }
        let settings = Settings::of(&document).map_err(|fault| vec![fault])?;
        let translation = translate(&document);
        let report = Report::new(&document, &translation);
        let refused: Vec<String> = report
            .unsupported()
            .filter(|item| !item.row)
            .map(|item| {
                let (name, place) = (&item.name, format!("{}:{}", item.file, item.line));
                format!("\"{name}\" cannot be kept: {} in {place}", item.text)
            })
            .collect();
        if !refused.is_empty() {
            return Err(refused);
        }
        let differences = report
            .items
            .iter()
            .filter(|item| item.exactness == forebay_nginx::verdict::Exactness::Approximate)
            .map(|item| {
                let place = format!("{}:{}", item.file, item.line);
                format!("\"{}\" is kept but for this: {} in {place}", item.name, item.text)
            })
            .collect();
        let config = configuration(translation, &settings, &self.error_log)?;
        Ok(Loaded { config, settings, files: names(&document), differences })
    }
}

fn names(document: &Document) -> Vec<String> {
    let files = &document.files;
    let all = (0..files.len()).map(|file| files.name(file).to_owned());
    // The directives of the command line are no file.
    all.filter(|name| name.starts_with('/')).collect()
}

fn configuration(
    translation: Translation,
    settings: &Settings,
    error_log: &str,
) -> Result<Config, Vec<String>> {
    let Some(mut config) = translation.config else {
        return Err(vec!["nothing in the configuration serves HTTP".to_owned()]);
    };
    let admin = std::env::var(ADMIN).unwrap_or_else(|_| "127.0.0.1:0".to_owned());
    config.admin.address =
        admin.parse().map_err(|_| vec![format!("{ADMIN}={admin} is not an address")])?;
    as_nginx_is(&mut config);
    if config.error_log.is_empty() {
        log_errors(&mut config, error_log)?;
    }
    config.shutdown.drain = Duration::millis(settings.stop_within.unwrap_or(NO_LIMIT));
    // As `forebay-proxy run` would read it: what the proxy checks of documents holds here, too.
    let source = proxy_config::Source::new("the translation of nginx.conf", config.to_yaml());
    Config::load(source).map_err(|problems| vec![problems.to_string()])
}

/// Requests that fail are told of in the log of the command line, or the default.
fn log_errors(config: &mut Config, target: &str) -> Result<(), Vec<String>> {
    let name = "default".to_owned();
    let path = match target {
        "stderr" => LogTarget::Stderr,
        target => error_log::target(target).map_err(|fault| vec![fault])?,
    };
    config.error_log.push(name.clone());
    config.error_logs.insert(name, ErrorLog { path, level: Severity::default() });
    Ok(())
}

/// What nginx does without being told. A translation that is to run as Forebay's own document need
/// not: none of it is what a configuration asks for.
fn as_nginx_is(config: &mut Config) {
    config.error_answers = ErrorAnswers::Html;
    for listener in config.listeners.values_mut() {
        listener.bare_line_feeds = true;
        listener.host_of_target = true;
        listener.answers_continue = true;
        listener.methods_refused = ["TRACE", "CONNECT"].map(str::to_owned).to_vec();
    }
}
