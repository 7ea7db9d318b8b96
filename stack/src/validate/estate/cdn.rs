//! The section `cdn`: what the types cannot say.

use proxy_config::suggest;

use super::{Fault, fault, is_domain};
use crate::environment::delivery::{Cdn, ObjectClass};

/// What is wrong with it; `origins` are the names of buckets and of functions.
pub(super) fn faults(cdn: &Cdn, origins: [&[String]; 2], account: Option<&str>) -> Vec<Fault> {
    let [buckets, functions] = origins;
    let mut faults = Vec::new();
    if !is_domain(&cdn.domain) {
        let message = format!("`{}` is not a domain", cdn.domain);
        faults.push(fault(
            "domain",
            message,
            "write it without scheme and port: `cdn.example.com`",
        ));
    }
    faults.extend(arns(cdn, account));
    for code in &cdn.countries {
        if code.len() != 2 || !code.bytes().all(|c| c.is_ascii_uppercase()) {
            let message = format!("`{code}` is not the code of a country");
            faults.push(fault("countries", message, "write two capital letters: `DE`"));
        }
    }
    let mut targets = vec![(
        "default".to_owned(),
        &cdn.otherwise.origin,
        cdn.otherwise.class,
        cdn.otherwise.signed,
    )];
    for (index, it) in cdn.behaviours.iter().enumerate() {
        targets.push((format!("behaviours[{index}]"), &it.origin, it.class, it.signed));
    }
    for (path, origin, class, signed) in targets {
        let known: Vec<&str> = ["edge"]
            .into_iter()
            .chain(buckets.iter().chain(functions).map(String::as_str))
            .collect();
        if !known.contains(&origin.as_str()) {
            let hint = suggest::hint(origin, &known, "origins");
            faults.push(fault(&format!("{path}.origin"), format!("there is no `{origin}`"), &hint));
        }
        if class == ObjectClass::Api && buckets.contains(origin) {
            let message = format!("the bucket `{origin}` answers no programs");
            faults.push(fault(&format!("{path}.class"), message, "write `segment` or `page`"));
        }
        if signed && cdn.signing_key.is_none() {
            let message = "there is no key to check signed URLs with".to_owned();
            faults.push(fault(
                &format!("{path}.signed"),
                message,
                "name the file of the public key: `signing_key: …` in `cdn`",
            ));
        }
    }
    faults.extend(paths(cdn));
    faults
}

/// Certificate and firewall: where CloudFront looks, and of the account, whose others it does not see.
fn arns(cdn: &Cdn, account: Option<&str>) -> Vec<Fault> {
    let example = account.unwrap_or("123456789012");
    let mut faults = Vec::new();
    for (key, value, service, what) in [
        ("certificate", &cdn.certificate, "acm", "certificate/"),
        ("firewall", &cdn.firewall, "wafv2", "global/webacl/"),
    ] {
        let start = format!("arn:aws:{service}:us-east-1:");
        let message = match value.strip_prefix(&start).and_then(|rest| rest.split_once(':')) {
            None => format!("`{value}` is not in us-east-1, where CloudFront looks"),
            Some((of, _)) if account.is_some_and(|account| account != of) => {
                format!("`{value}` is of another account, and CloudFront takes its own only")
            }
            Some((_, rest)) if rest.strip_prefix(what).is_none_or(str::is_empty) => match key {
                "firewall" => format!("`{value}` is no web ACL for CloudFront, whose are `global`"),
                _ => format!("`{value}` is no certificate"),
            },
            Some(_) => continue,
        };
        faults.push(fault(key, message, &format!("write its ARN: `{start}{example}:{what}…`")));
    }
    faults
}

/// Paths that CloudFront does not take, or that nothing comes to.
/// <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DownloadDistValuesCacheBehavior.html>
fn paths(cdn: &Cdn) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, behaviour) in cdn.behaviours.iter().enumerate() {
        let key = format!("behaviours[{index}].paths");
        let paths = &behaviour.paths;
        let length = paths.chars().count();
        if !(1..=255).contains(&length) {
            let message = format!("these paths have {length} characters");
            faults.push(fault(&key, message, "CloudFront takes 1 to 255: shorten them with `*`"));
        } else if !paths.bytes().all(|c| c.is_ascii_graphic()) {
            let message = format!("`{paths}` has characters that are in no path");
            let hint = "write blanks and what is not ASCII as `?` or `*`";
            faults.push(fault(&key, message, hint));
        }
        if let Some(first) = cdn.behaviours[..index].iter().position(|it| it.paths == *paths) {
            let message = format!("`behaviours[{first}]` has `{paths}` already");
            faults.push(fault(&key, message, "leave one of the two out: the first counts"));
        }
    }
    faults
}
