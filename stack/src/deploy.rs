//! From templates to stacks: in which order, what is asked of CloudFormation, and what is told
//! meanwhile. [`order`] and [`told`] are pure; [`run`] does it.

pub mod destroy;
pub mod order;
pub mod policy;
pub mod run;
pub mod told;
