//! `forebay-proxy explain FILE METHOD URL`

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};
use proxy_config::Config;
use proxy_config::explain::{Explanation, explain};
use proxy_config::matching::Target;

use super::document::{Document, load};
use super::fault::Fault;
use super::output::{Output, OutputOption, print};
use crate::path::normalize_target;
use crate::route::refusal_in;

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    document: Document,
    /// Method of the request, such as GET.
    method: String,
    /// URL of the request, such as <http://ledger.example.com/v1/transfers>.
    url: String,
    /// Listener it comes in on; without it, the URL's scheme and port decide.
    #[arg(long)]
    listener: Option<String>,
    /// Header of the request, such as `x-api-key: k`; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    #[command(flatten)]
    output: OutputOption,
}

pub fn run(options: &Options) -> Result<(), Fault> {
    let config = load(&options.document.file)?;
    let (method, url) = (options.method.as_str(), options.url.as_str());
    let mut headers = HeaderMap::new();
    for (name, value) in &options.headers {
        headers.append(name.clone(), value.clone());
    }
    let mut explanation = explain(&config, method, url, options.listener.as_deref(), &headers)
        .map_err(|error| Fault::Usage(error.to_string()))?;
    if let Some(refusal) = refusal(&config, &explanation, &headers) {
        explanation.outcome = refusal;
    }
    match options.output.output {
        Output::Text => print(&format!("{explanation}\n")),
        Output::Json => {
            let text = serde_json::to_string_pretty(&explanation)
                .map_err(|error| Fault::Other(error.into()))?;
            print(&format!("{text}\n"))
        }
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write `name: value`")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is not the name of a header"))?;
    let value =
        value.trim().parse().map_err(|_| "its value is not one line of ASCII".to_owned())?;
    Ok((name, value))
}

/// What the proxy itself would answer before any upstream is asked.
fn refusal(config: &Config, explanation: &Explanation, headers: &HeaderMap) -> Option<String> {
    let uri: http::Uri = explanation.url.parse().ok()?;
    let sent = uri.path_and_query().map_or("/", |target| target.as_str());
    if let Err(fault) = normalize_target(sent.as_bytes()) {
        return Some(format!("it is answered with 400: {fault}"));
    }
    let listener = explanation.listener.as_ref()?;
    if let Some(route) = &explanation.route {
        let fault = normalize_target(route.rewritten.as_ref()?.as_bytes()).err()?;
        return Some(format!("it is answered with 400 after the rewrite: {fault}"));
    }
    if !explanation.is_unrouted {
        return None;
    }
    let target = Target {
        listener: &listener.name,
        host: &explanation.host,
        path: &explanation.path,
        query: uri.query().unwrap_or_default(),
        method: &explanation.method,
        headers: Some(headers),
    };
    let failure = refusal_in(config, &target);
    let status = failure.status()?.as_u16();
    Some(format!("no route takes it; it is answered with {status}: {failure}"))
}
