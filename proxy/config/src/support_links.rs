//! Keys of steps that check links; part of what [`crate::support`] says.

pub const LINK_KEYS: &[&str] = &[
    "routes[].steps[].then[].check_link",
    "routes[].steps[].then[].check_link.name",
    "routes[].steps[].then[].check_link.expires",
    "routes[].steps[].then[].check_link.by",
    "routes[].steps[].then[].check_link.by.text",
    "routes[].steps[].then[].check_link.by.text.given",
    "routes[].steps[].then[].check_link.by.text.md5_of",
    "routes[].steps[].then[].check_link.by.path",
    "routes[].steps[].then[].check_link.by.path.word",
];
