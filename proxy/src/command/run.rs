//! `forebay-proxy run FILE`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use proxy_config::{Config, Tree};

use super::document::{Document, load, read};
use super::fault::Fault;
use super::named;
use crate::listen::Addresses;
use crate::reload::document;
use crate::server::{Manner, Orders, StartFault};
use crate::{operator_log, server};

#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    document: Document,
    /// Write the addresses listened on, and the process id, to this file as JSON once every
    /// socket is bound; it is removed at the end.
    #[arg(long, value_name = "PATH")]
    addresses_file: Option<PathBuf>,
    /// Level of the log on standard error: error, warn, info, debug, trace, or directives such as
    /// `info,h2=debug`.
    #[arg(long, env = "FOREBAY_LOG", default_value = "info")]
    log_level: String,
}

pub fn run(options: &Options) -> Result<(), Fault> {
    let file = options.document.file.clone();
    let config = load(&file)?;
    operator_log::start(&options.log_level)
        .map_err(|error| Fault::Usage(format!("--log-level `{}`: {error}", options.log_level)))?;
    let (addresses_file, rewritten) =
        (options.addresses_file.clone(), options.addresses_file.clone());
    let moved = move |addresses: &Addresses| {
        let written = rewritten.as_ref().map_or(Ok(()), |path| addresses.write(path));
        if let Err(error) = written {
            tracing::error!(%error, "--addresses-file cannot be written, and names what was");
        }
    };
    let manner = Manner {
        ready: Box::new(move |addresses| match addresses_file {
            Some(path) => addresses.write(&path).map_err(|error| StartFault::Told { path, error }),
            None => Ok(()),
        }),
        orders: Orders {
            read: Arc::new(move || document(&file)),
            reopen: Arc::new(|| {}),
            moved: Arc::new(moved),
        },
    };
    server::run(config, manner).map_err(|fault| with_places(fault, &options.document.file))?;
    if let Some(path) = &options.addresses_file {
        Addresses::forget(path);
    }
    Ok(())
}

/// Everything that is wrong with what the document names, where a start failed for one of them.
fn with_places(fault: StartFault, file: &Path) -> Fault {
    let is_unfit = matches!(fault, StartFault::Unfit(_));
    let found = || {
        let tree = Tree::parse(read(file).ok()?).ok()?;
        let config = Config::from_node(&tree, tree.root(), &BTreeMap::new()).ok()?;
        Some(named::problems(&config, &tree)).filter(|problems| !problems.is_empty())
    };
    let problems = is_unfit.then(found).flatten();
    let fault = Fault::from(fault);
    let exit_code = fault.exit_code();
    problems.map_or(fault, |problems| Fault::Unfit { problems, exit_code })
}
