//! From templates to stacks: in which order, what is asked of CloudFormation, and what is told
//! meanwhile. [`confirm`] asks and does nothing. [`order`], [`progress`], [`tree`] and [`told`] are pure; [`run`] does it, and [`show`]
//! brings it to people, with a [`screen`] where there is a terminal.

pub mod confirm;
pub mod destroy;
pub mod order;
pub mod policy;
pub mod progress;
pub mod run;
pub mod screen;
pub mod show;
pub mod told;
pub mod tree;
