//! Reads nginx.conf, translates it for the Forebay proxy, and says how exactly. The way of a file:
//!
//! 1. [`mod@include`]: which files a configuration consists of; [`lex`], [`lua`]: text into words.
//! 2. [`parse`]: words into a [`tree`], every word with its [`place`]; a fault does not end it.
//!    [`mod@print`] is the way back.
//! 3. [`directive`]: what nginx knows (directives.tsv); [`check`]: what nginx would refuse.
//!    All that is wrong so far is a [`problem`], said where nginx would say it.
//! 4. [`translate`]: the tree into a `proxy_config::Config`. Each directive gets one verdict,
//!    by code where it is translated, by [`verdict`]'s table (verdicts.tsv) where it is not.
//! 5. [`report`]: the verdicts with their places and shares, as [`table`], [`mod@page`] or JSON; with an
//!    access log, shares of its [`mod@traffic`] too.
//! 6. [`convert`]: the configuration as YAML that names the line each part came from.
//! 7. [`mod@replay`]: the same requests to nginx and to the proxy, and how the answers differ.
//! 8. [`command`]: `check`, `report`, `convert` and `replay` as people call them.

pub mod check;
pub mod command;
pub mod convert;
pub mod directive;
pub mod include;
pub mod lex;
pub mod lua;
pub mod page;
pub mod parse;
pub mod place;
pub mod print;
pub mod problem;
pub mod replay;
pub mod report;
pub mod table;
pub mod traffic;
pub mod translate;
pub mod tree;
pub mod verdict;
