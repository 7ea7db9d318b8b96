//! What may be the name of a host.

/// What keeps a lower-case text from being a host name (RFC 1123 section 2.1, with `_` allowed
/// because container networks use it), as a hint.
pub(crate) fn name_fault(name: &str) -> Option<String> {
    if !name.is_ascii() {
        return Some("write the name in its ASCII form, each label as `xn--...` (IDNA)".to_owned());
    }
    if name.is_empty() {
        return Some("write a name such as `example.com`".to_owned());
    }
    if name.len() > 253 {
        return Some("a host name has at most 253 characters".to_owned());
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Some("two dots follow one another, or it starts with a dot".to_owned());
        }
        if label.len() > 63 {
            return Some(format!("`{label}` is longer than the 63 characters a label may have"));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if let Some(wrong) = label.chars().find(|c| !legal(*c)) {
            return Some(format!("`{wrong}` may not stand in a host name"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Some(format!("`{label}` starts or ends with a hyphen"));
        }
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some("what ends in a number must be an IP address: `192.0.2.7`".to_owned());
    }
    None
}
