//! The access log as a list of requests.

use std::collections::HashMap;
use std::io::{self, BufRead};

use serde::Deserialize;
use thiserror::Error;

/// Requests read from one log.
pub const REQUESTS_MAX: usize = 5_000_000;

/// One request of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub host: String,
    /// Path and query.
    pub target: String,
    pub tls: bool,
    pub is_head: bool,
    pub status: u16,
    /// Body bytes sent.
    pub bytes: u64,
    /// How long the origin took for its head, where it was asked.
    pub origin_ms: Option<f64>,
    /// How long the client took to read the body, in milliseconds.
    pub reading_ms: Option<f64>,
}

impl Asked {
    /// Bytes a second at which the client read; as fast as can be where the log does not say.
    pub fn client_rate(&self) -> u64 {
        let reading_s = self.reading_ms.unwrap_or(0.0).max(0.001) / 1000.0;
        let rate = self.bytes as f64 / reading_s;
        std::time::Duration::try_from_secs_f64(rate).map_or(u64::MAX, |whole| whole.as_secs())
    }
}

#[derive(Debug, Default)]
pub struct Trace {
    /// By time.
    pub asked: Vec<Asked>,
    /// Lines that no cache could have answered: other methods, no answer, no host.
    pub left_out: usize,
    /// The largest answer to each URI, in bytes.
    sizes: HashMap<String, u64>,
    /// The median of what the origin took, in milliseconds.
    pub origin_ms: f64,
}

#[derive(Debug, Error)]
pub enum TraceFault {
    #[error("line {line}: {fault}; lines are to be those of the proxy's access log")]
    Line { line: usize, fault: String },
    #[error("line {line}: {error}")]
    Read { line: usize, error: io::Error },
    #[error("it has more than {REQUESTS_MAX} requests; cut it")]
    TooLong,
    #[error("it has no request that a cache could answer")]
    Empty,
}

#[derive(Deserialize)]
struct Line {
    time: String,
    method: String,
    host: Option<String>,
    path: String,
    query: Option<String>,
    tls: Option<String>,
    status: Option<u16>,
    bytes_out: u64,
    upstream_first_byte_ms: Option<f64>,
    duration_ms: Option<f64>,
    first_byte_ms: Option<f64>,
}

impl Trace {
    pub fn read(log: impl BufRead) -> Result<Trace, TraceFault> {
        let mut trace = Trace::default();
        for (index, text) in log.lines().enumerate() {
            let line = index + 1;
            let text = text.map_err(|error| TraceFault::Read { line, error })?;
            if text.trim().is_empty() {
                continue;
            }
            let fault = |fault: String| TraceFault::Line { line, fault };
            let said: Line = serde_json::from_str(&text).map_err(|e| fault(e.to_string()))?;
            let time: jiff::Timestamp = said
                .time
                .parse()
                .map_err(|_| fault(format!("`time` is {:?}, not a time of RFC 3339", said.time)))?;
            let at_ms = u64::try_from(time.as_millisecond()).unwrap_or(0);
            trace.take(said, at_ms);
            if trace.asked.len() > REQUESTS_MAX {
                return Err(TraceFault::TooLong);
            }
        }
        if trace.asked.is_empty() {
            return Err(TraceFault::Empty);
        }
        // A line is written when its request ends; what began first comes first.
        trace.asked.sort_by_key(|asked| asked.at_ms);
        let mut origin: Vec<f64> = trace.asked.iter().filter_map(|asked| asked.origin_ms).collect();
        origin.sort_by(f64::total_cmp);
        trace.origin_ms = origin.get(origin.len() / 2).copied().unwrap_or(0.0);
        Ok(trace)
    }

    fn take(&mut self, line: Line, at_ms: u64) {
        let is_head = line.method == "HEAD";
        let (Some(host), Some(status), true) =
            (line.host, line.status, is_head || line.method == "GET")
        else {
            self.left_out += 1;
            return;
        };
        let target = match line.query {
            Some(query) if !query.is_empty() => format!("{}?{query}", line.path),
            _ => line.path,
        };
        if !is_head && matches!(status, 200 | 206) {
            let size = self.sizes.entry(format!("{host}{target}")).or_default();
            *size = (*size).max(line.bytes_out);
        }
        self.asked.push(Asked {
            at_ms,
            host,
            target,
            tls: line.tls.is_some(),
            is_head,
            status,
            bytes: line.bytes_out,
            origin_ms: line.upstream_first_byte_ms,
            reading_ms: line.duration_ms.zip(line.first_byte_ms).map(|(all, first)| all - first),
        });
    }

    /// Bytes of the object that was asked for.
    pub fn size(&self, asked: &Asked) -> u64 {
        let size = self.sizes.get(&format!("{}{}", asked.host, asked.target));
        size.copied().unwrap_or(asked.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(method: &str, path: &str, status: &str, bytes: u64) -> String {
        format!(
            "{{\"time\":\"2026-01-01T00:00:0{}.500Z\",\"method\":\"{method}\",\"host\":\"a\",\
             \"path\":\"{path}\",\"status\":{status},\"bytes_out\":{bytes},\"other\":1}}\n",
            bytes % 10,
        )
    }

    #[test]
    fn lines_become_requests_in_the_order_of_their_beginning() {
        let log = line("GET", "/a", "206", 3) + "\n" + &line("GET", "/a", "200", 2);
        let log = log + &line("POST", "/a", "200", 1) + &line("GET", "/gone", "null", 1);
        let trace = Trace::read(log.as_bytes()).unwrap();
        let bytes: Vec<u64> = trace.asked.iter().map(|asked| asked.bytes).collect();
        assert_eq!((bytes, trace.left_out), (vec![2, 3], 2));
        assert_eq!(trace.size(&trace.asked[0]), 3);
        assert_eq!(trace.asked[1].at_ms - trace.asked[0].at_ms, 1000);
    }

    #[test]
    fn what_is_no_log_is_told_with_its_line() {
        let log = line("GET", "/a", "200", 1) + "127.0.0.1 - - [x] \"GET / HTTP/1.1\" 200 1\n";
        let told = Trace::read(log.as_bytes()).unwrap_err().to_string();
        assert!(told.starts_with("line 2: "), "{told}");
        let wrong = line("GET", "/a", "200", 1).replace("2026-01-01T", "yesterday ");
        assert!(Trace::read(wrong.as_bytes()).unwrap_err().to_string().contains("RFC 3339"));
        assert!(matches!(Trace::read(b"\n".as_slice()), Err(TraceFault::Empty)));
    }
}
