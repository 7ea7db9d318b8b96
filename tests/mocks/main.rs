//! Deploying against AWS as others have built it: ministack and moto, from PyPI. What is asserted is
//! what each service says of itself through AWS's own client, never what a stack says: both mocks call
//! a stack complete whose resources they do not know.
//!
//! - [`ministack`] refuses types it does not know, so the stages put stand-ins in their place; it has
//!   change sets with replacements, drift, rollbacks that fail, and protection.
//! - [`moto`] takes any type in silence and makes those it knows; it knows the network's parts that
//!   ministack does not.

mod between;
mod ministack;
mod mock;
mod moto;
