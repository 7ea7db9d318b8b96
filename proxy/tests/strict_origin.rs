//! An origin that reads HTTP/1.1 as strictly as RFC 9112 has it, keeps every whole request, and notes whatever it would
//! have to guess at.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::harness::PATIENCE;

/// A request that arrived whole.
#[derive(Clone, Debug)]
pub struct Whole {
    pub method: String,
    pub target: String,
}

#[derive(Clone)]
pub struct StrictOrigin {
    pub address: SocketAddr,
    whole: Arc<Mutex<Vec<Whole>>>,
    faults: Arc<Mutex<Vec<String>>>,
}

/// Why reading ends.
enum End {
    /// The connection ended, perhaps within a request.
    Closed,
    Fault(String),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> End {
        End::Closed
    }
}

impl StrictOrigin {
    pub fn start() -> StrictOrigin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let origin = StrictOrigin { address, whole: Arc::default(), faults: Arc::default() };
        let running = origin.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let running = running.clone();
                std::thread::spawn(move || running.converse(stream));
            }
        });
        origin
    }

    pub fn whole(&self) -> Vec<Whole> {
        self.whole.lock().unwrap().clone()
    }

    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    fn converse(&self, stream: TcpStream) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut stream = BufReader::new(stream);
        loop {
            match request(&mut stream) {
                Ok(whole) => {
                    // The target comes back, so that answers can be told apart.
                    let body = format!("{} {}", whole.method, whole.target);
                    let bodyless = whole.method == "HEAD";
                    self.whole.lock().unwrap().push(whole);
                    let mut answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    if !bodyless {
                        answer.push_str(&body);
                    }
                    if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
                Err(End::Closed) => return,
                Err(End::Fault(fault)) => return self.faults.lock().unwrap().push(fault),
            }
        }
    }
}

fn request(stream: &mut BufReader<TcpStream>) -> Result<Whole, End> {
    let line = line(stream)?;
    let fault = |what: &str| End::Fault(format!("{what}: {line:?}"));
    let words: Vec<&str> = line.split(' ').collect();
    let &[method, target, "HTTP/1.1"] = words.as_slice() else {
        return Err(fault("no request line"));
    };
    let visible = |byte: u8| (0x21..0x7f).contains(&byte);
    let is_origin_form = target.starts_with('/') || (target == "*" && method == "OPTIONS");
    if method.is_empty()
        || !method.bytes().all(is_token)
        || !is_origin_form
        || !target.bytes().all(visible)
    {
        return Err(fault("no method or no target"));
    }
    let mut fields = Vec::new();
    loop {
        let line = crate::strict_origin::line(stream)?;
        if line.is_empty() {
            break;
        }
        fields.push(field(&line)?);
    }
    let named = |name: &str| -> Vec<&str> {
        let of = fields.iter().filter(|(is, _)| is.eq_ignore_ascii_case(name));
        of.map(|(_, value)| value.as_str()).collect()
    };
    let host = named("host");
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !matches!(host[..], [host] if !host.is_empty() && host.bytes().all(is_host)) {
        return Err(fault(&format!("Host is {host:?}")));
    }
    if fields.iter().any(|(name, _)| name.contains('_')) {
        // Some servers read `_` as `-`: Content_Length is then a length.
        for ambiguous in ["content_length", "transfer_encoding"] {
            if !named(ambiguous).is_empty() {
                return Err(fault("a name that some read as another"));
            }
        }
    }
    if !named("upgrade").is_empty() || !named("http2-settings").is_empty() {
        return Err(fault("an offer to change the protocol"));
    }
    match (&named("transfer-encoding")[..], &named("content-length")[..]) {
        ([], []) => {}
        (["chunked"], []) => chunks(stream)?,
        ([], [length]) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            let length: u64 = length.parse().map_err(|_| fault("a length too large"))?;
            let copied = std::io::copy(&mut stream.take(length), &mut std::io::sink())?;
            if copied < length {
                return Err(End::Closed);
            }
        }
        (codings, lengths) => {
            return Err(fault(&format!("codings {codings:?} and lengths {lengths:?}")));
        }
    }
    Ok(Whole { method: method.to_owned(), target: target.to_owned() })
}

fn field(line: &str) -> Result<(String, String), End> {
    let fault = || End::Fault(format!("no field: {line:?}"));
    let (name, value) = line.split_once(':').ok_or_else(fault)?;
    let is_text = |c: char| c == '\t' || !c.is_control();
    if name.is_empty() || !name.bytes().all(is_token) || !value.chars().all(is_text) {
        return Err(fault());
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

fn chunks(stream: &mut BufReader<TcpStream>) -> Result<(), End> {
    loop {
        let size = line(stream)?;
        let plain =
            !size.is_empty() && size.len() < 16 && size.bytes().all(|b| b.is_ascii_hexdigit());
        if !plain {
            return Err(End::Fault(format!("no size of a chunk: {size:?}")));
        }
        let size = u64::from_str_radix(&size, 16).unwrap();
        if std::io::copy(&mut stream.take(size), &mut std::io::sink())? < size {
            return Err(End::Closed);
        }
        let end = line(stream)?;
        if !end.is_empty() {
            let what = if size == 0 { "a trailer" } else { "no end of a chunk" };
            return Err(End::Fault(format!("{what}: {end:?}")));
        }
        if size == 0 {
            return Ok(());
        }
    }
}

/// A line without its CR LF; bytes above ASCII as Latin-1.
fn line(stream: &mut BufReader<TcpStream>) -> Result<String, End> {
    let mut line = String::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte)?;
        match (byte[0], line.ends_with('\r')) {
            (b'\n', true) => {
                line.pop();
                return Ok(line);
            }
            (b'\n', false) => return Err(End::Fault(format!("a bare LF: {line:?}"))),
            (_, true) => return Err(End::Fault(format!("a bare CR: {line:?}"))),
            (byte, false) => line.push(char::from(byte)),
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The path as the most lenient server there is might read it: unescaped twice, parameters dropped, slashes of
/// both kinds, dots resolved.
pub fn read_leniently(target: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let unescaped = unescape(&unescape(path.as_bytes()));
    let text = String::from_utf8_lossy(&unescaped).replace('\\', "/").to_lowercase();
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        let segment = segment.split([';', '\0', '\t', '\r', '\n']).next().unwrap_or_default();
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

fn unescape(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::new();
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'%', [high, low, after @ ..]) if digit(high).is_some() && digit(low).is_some() => {
                out.push(digit(high).unwrap() * 16 + digit(low).unwrap());
                rest = after;
            }
            (byte, after) => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}
