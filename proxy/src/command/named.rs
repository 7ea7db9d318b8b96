//! What a document names on this machine: files, directories and logs, looked at as a start would find them. All of it, and
//! nothing is made. Names of servers are not looked up, and no address is bound: both may be another machine's.

use std::fs;
use std::io;
use std::path::Path;

use proxy_config::Config;
use proxy_config::access_log::LogTarget;
use proxy_config::admin::Admin;
use proxy_config::listener::{Listener, ListenerTls};
use proxy_config::{Problem, Problems, Tree};
use rustix::fs::{Access, access};

use crate::admin::tokens::Tokens;
use crate::guard::Guard;
use crate::metrics::Metrics;
use crate::protected;
use crate::tls;
use crate::tls::kept::Kept;
use crate::upstream::ServerFault;
use crate::upstream::server::Servers;
use crate::upstream::transport::Transport;

/// What is wrong, and the path of what it is about.
type Found = (String, String);

/// Everything that is wrong with it.
pub fn problems(config: &Config, tree: &Tree) -> Problems {
    let all = [
        listeners(config),
        upstreams(config),
        routes(config),
        tokens(&config.admin),
        logs(config),
        protected::look(config).into_iter().map(|(at, fault)| (at, fault.to_string())).collect(),
    ];
    let problems = all.into_iter().flatten().map(|found| at_its_place(found, tree));
    Problems::new(tree, problems.collect())
}

/// At the file that it is about, where the message names one that is written there.
fn at_its_place((path, message): Found, tree: &Tree) -> Problem {
    let within = tree.get(&path).map(|node| node.all()).unwrap_or_default();
    let named = within.iter().find_map(|(below, node)| {
        let text = node.as_text().filter(|text| text.contains('/') || text.contains('.'))?;
        let separator = if below.is_empty() || below.starts_with('[') { "" } else { "." };
        message.contains(text).then(|| format!("{path}{separator}{below}"))
    });
    let path = named.unwrap_or(path);
    let place = tree.get(&path).map(|node| node.span).or_else(|| tree.place_of(&path));
    Problem::new(path, place, message)
}

/// Certificates by themselves first: each that is wrong is told of.
fn listeners(config: &Config) -> Vec<Found> {
    let mut found = Vec::new();
    let kept = Kept::looking();
    for (name, listener) in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
        let before = found.len();
        for (index, files) in tls.certificates.iter().enumerate() {
            let tls = ListenerTls { certificates: vec![files.clone()], ..tls.clone() };
            let alone = Listener { tls: Some(tls), ..listener.clone() };
            if let Err(fault) = tls::spoken(name, &alone, &kept) {
                let path = format!("listeners.{name}.tls.certificates[{index}]");
                found.push((path, fault.to_string()));
            }
        }
        if found.len() == before
            && let Err(fault) = tls::spoken(name, listener, &kept)
        {
            found.push((format!("listeners.{name}.tls"), fault.to_string()));
        }
    }
    found
}

fn upstreams(config: &Config) -> Vec<Found> {
    let looked = config.upstreams.iter().filter_map(|(name, upstream)| {
        let fault = Transport::new(name, upstream).err()?;
        let fault = ServerFault::File { upstream: name.clone(), fault };
        Some((format!("upstreams.{name}.tls"), fault.to_string()))
    });
    looked.collect()
}

/// Keys, users and what else guards read.
fn routes(config: &Config) -> Vec<Found> {
    let (servers, metrics) = (Servers::default(), Metrics::new());
    let looked = config.routes.iter().enumerate().filter_map(|(index, route)| {
        let fault = Guard::new(route.auth.as_ref(), &servers, &metrics).err()?;
        Some((format!("routes[{index}].auth"), format!("auth: {fault}")))
    });
    looked.collect()
}

fn tokens(admin: &Admin) -> Vec<Found> {
    let looked = admin.tokens.iter().enumerate().filter_map(|(index, token)| {
        let alone = Admin { tokens: vec![token.clone()], ..admin.clone() };
        let fault = Tokens::read(&alone).err()?;
        Some((format!("admin.tokens[{index}]"), fault.to_string()))
    });
    looked.collect()
}

fn logs(config: &Config) -> Vec<Found> {
    let named =
        config.access_logs.iter().map(|(name, log)| (format!("access_logs.{name}"), &log.path));
    let errors =
        config.error_logs.iter().map(|(name, log)| (format!("error_logs.{name}"), &log.path));
    let all = std::iter::once(("access_log".to_owned(), &config.access_log.path));
    let looked = all.chain(named).chain(errors).filter_map(|(at, target)| {
        let LogTarget::File(path) = target else { return None };
        let error = writable(path).err()?;
        let message = format!("the log {} cannot be opened: {error}", path.display());
        Some((format!("{at}.path"), message))
    });
    looked.collect()
}

/// Whether a file could be opened for writing, made where it is missing.
fn writable(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(access(path, Access::WRITE_OK)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(error) => Err(error),
    }
}
