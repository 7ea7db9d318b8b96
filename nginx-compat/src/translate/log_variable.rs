//! Variables that lines of a log may name, since a request has ended by then.

/// nginx's name, the proxy's, and the difference where there is one.
const OF_END: [(&str, &str, &str); 20] = [
    ("body_bytes_sent", "bytes_out", ""),
    ("bytes_sent", "bytes_sent", "$bytes_sent does not count what frames chunks"),
    ("msec", "time_unix", ""),
    ("pid", "process", ""),
    ("remote_user", "user", ""),
    ("request", "request_line", ""),
    ("request_body", "request_body", ""),
    ("request_body_file", "request_body_file", ""),
    ("request_length", "bytes_in", "$request_length does not count heads"),
    ("request_time", "duration", ""),
    ("ssl_protocol", "tls", ""),
    ("status", "answer_status", ""),
    ("time_iso8601", "time_iso", ""),
    ("time_local", "time_local", ""),
    ("upstream_addr", "tried_servers", ""),
    ("upstream_cache_status", "answer_cache", ""),
    ("upstream_connect_time", "upstream_connect", ""),
    ("upstream_header_time", "upstream_first_byte", ""),
    (
        "upstream_response_time",
        "upstream_first_byte",
        "$upstream_response_time ends with the answer's head",
    ),
    ("upstream_status", "tried_statuses", ""),
];

/// What stands for a variable in a line of a log, and how it differs.
pub fn of_end(name: &str) -> Option<(String, &'static str)> {
    if let Some((_, own, difference)) = OF_END.iter().find(|(known, ..)| *known == name) {
        return Some((format!("${{{own}}}"), difference));
    }
    let header = name.strip_prefix("sent_http_").or_else(|| name.strip_prefix("upstream_http_"))?;
    Some((format!("${{answer_{header}}}"), ""))
}
