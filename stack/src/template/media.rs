//! The stack `media`: workers, services and functions, and the CDN before everything.

use super::{Stack, Template, cdn, function, rotation, service, worker};
use crate::estate::EstatePlan;

/// None when the file asks for nothing of it.
pub(super) fn build(plan: &EstatePlan) -> Option<Template> {
    let estate = &plan.estate;
    if estate.workers.is_empty() && estate.functions.is_empty() && estate.cdn.is_none() {
        return None;
    }
    let what = "workers, services, functions and the CDN.";
    let mut template = Template::new(plan, Stack::Media, what);
    if !estate.workers.is_empty() {
        worker::cluster(&mut template, plan);
    }
    for (name, of) in &estate.workers {
        worker::add(&mut template, plan, name, of);
    }
    service::balancer(&mut template, plan);
    rotation::renew(&mut template, plan);
    for (name, of) in &estate.functions {
        function::add(&mut template, plan, name, of);
    }
    if let Some(of) = &estate.cdn {
        cdn::add(&mut template, plan, of);
    }
    Some(template)
}
