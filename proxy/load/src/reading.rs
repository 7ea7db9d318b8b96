//! One HTTP/1.1 answer as it arrives: when it is whole, and whether its bytes are the origin's.

/// What may be wrong with a head before it is given up.
const HEAD_MAX: usize = 16 * 1024;
/// The origin's bodies repeat after so many bytes: a prime, so that no power of two hides a shift.
const PERIOD: usize = 251;
/// Length of the piece that bodies are compared with.
const PIECE: usize = 256 * 1024;

/// What stands where in every body of the origin.
pub fn byte_at(position: u64) -> u8 {
    (position % PERIOD as u64).to_le_bytes()[0]
}

/// The origin's bytes from any position on: a slice of this, begun at the position modulo its period.
#[derive(Clone, Debug)]
pub struct Pattern(Vec<u8>);

impl Default for Pattern {
    fn default() -> Pattern {
        Pattern((0..PIECE + PERIOD).map(|at| byte_at(at as u64)).collect())
    }
}

impl Pattern {
    /// As many bytes of the body as there are here from this position on.
    pub fn at(&self, position: u64) -> &[u8] {
        &self.0[usize::from(byte_at(position))..]
    }

    /// Whether these are the body's bytes at this position.
    fn holds(&self, position: u64, bytes: &[u8]) -> bool {
        let mut at = position;
        bytes.chunks(PIECE).all(|chunk| {
            let same = self.at(at)[..chunk.len()] == *chunk;
            at += chunk.len() as u64;
            same
        })
    }
}

/// How closely a body is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Any bytes will do.
    Length,
    /// The first and last byte of each part: to look at all would measure the looking.
    Ends,
    Every,
}

/// An answer that is being read.
#[derive(Debug)]
pub struct Reading {
    check: Check,
    head: Vec<u8>,
    /// Status, and where the body ends; none until the head is whole.
    known: Option<(u16, u64)>,
    /// Position in the origin's body.
    at: u64,
    /// The connection takes no further request.
    closes: bool,
}

/// What the bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More is to come; so many bytes of the body were among these.
    Body(u64),
    /// Whole; so many bytes of the body were among these.
    Whole(u64),
}

impl Reading {
    pub fn new(check: Check) -> Reading {
        Reading { check, head: Vec::new(), known: None, at: 0, closes: false }
    }

    /// The status of the answer once its head is whole.
    pub fn status(&self) -> Option<u16> {
        self.known.map(|(status, _)| status)
    }

    /// Whether the server said that this is the connection's last answer.
    pub fn closes(&self) -> bool {
        self.closes
    }

    /// Takes what was read. An error says what is wrong with the answer.
    pub fn take(&mut self, pattern: &Pattern, bytes: &[u8]) -> Result<Progress, String> {
        let body = match self.known {
            Some(_) => bytes,
            None => {
                let before = self.head.len();
                self.head.extend_from_slice(&bytes[..bytes.len().min(HEAD_MAX)]);
                let from = before.saturating_sub(3);
                let end = self.head[from..].windows(4).position(|four| four == b"\r\n\r\n");
                let Some(end) = end.map(|end| from + end + 4) else {
                    if self.head.len() >= HEAD_MAX {
                        return Err("the head does not end".to_owned());
                    }
                    return Ok(Progress::Body(0));
                };
                self.head.truncate(end);
                let head = Head::parse(&self.head)?;
                (self.at, self.closes) = (head.first, head.closes);
                self.known = Some((head.status, head.first + head.length));
                &bytes[end - before..]
            }
        };
        let Some((status, end)) = self.known else { return Ok(Progress::Body(0)) };
        let count = body.len() as u64;
        if self.at + count > end {
            return Err("more bytes than the answer has".to_owned());
        }
        if let 200..300 = status
            && !self.is_right(pattern, body)
        {
            return Err(format!("other bytes than the origin's after byte {}", self.at));
        }
        self.at += count;
        Ok(if self.at == end { Progress::Whole(count) } else { Progress::Body(count) })
    }

    fn is_right(&self, pattern: &Pattern, body: &[u8]) -> bool {
        let (Some(first), Some(last)) = (body.first(), body.last()) else { return true };
        match self.check {
            Check::Length => true,
            Check::Ends => {
                let end = self.at + body.len() as u64 - 1;
                *first == byte_at(self.at) && *last == byte_at(end)
            }
            Check::Every => pattern.holds(self.at, body),
        }
    }
}

struct Head {
    status: u16,
    /// Position of the first byte that follows.
    first: u64,
    length: u64,
    closes: bool,
}

impl Head {
    fn parse(head: &[u8]) -> Result<Head, String> {
        let text = std::str::from_utf8(head).map_err(|_| "the head is not text".to_owned())?;
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| format!("no status in `{line}`"))?;
        let (mut first, mut length, mut closes) = (0, None, line.starts_with("HTTP/1.0"));
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok();
            } else if name.eq_ignore_ascii_case("connection") {
                closes |= value.trim().eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("content-range") {
                let range = value.trim().strip_prefix("bytes ");
                let from = range.and_then(|range| range.split('-').next()?.parse().ok());
                first = from.ok_or_else(|| format!("Content-Range:{value}"))?;
            }
        }
        let length = length.ok_or_else(|| format!("{line}, without Content-Length"))?;
        Ok(Head { status, first, length, closes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(first: u64, bytes: &[u8]) -> Vec<u8> {
        let range = format!("Content-Range: bytes {first}-{}/9000\r\n", first + 1);
        let head = format!(
            "HTTP/1.1 206 X\r\n{range}Connection: Close\r\ncontent-length: {}\r\n\r\n",
            bytes.len()
        );
        [head.as_bytes(), bytes].concat()
    }

    #[test]
    fn an_answer_is_whole_wherever_it_is_cut() {
        let pattern = Pattern::default();
        let bytes = answer(700, &pattern.at(700)[..600]);
        for cut in 0..bytes.len() {
            let mut reading = Reading::new(Check::Every);
            let first = reading.take(&pattern, &bytes[..cut]).unwrap();
            let Progress::Body(early) = first else { panic!("whole at byte {cut}") };
            let rest = reading.take(&pattern, &bytes[cut..]).unwrap();
            assert_eq!(rest, Progress::Whole(600 - early));
            assert_eq!((reading.status(), reading.closes()), (Some(206), true));
        }
    }

    #[test]
    fn a_byte_that_is_not_the_origins_is_seen() {
        let pattern = Pattern::default();
        let mut body = pattern.at(0)[..600].to_vec();
        body[300] ^= 1;
        let taken =
            |check, body: &[u8]| Reading::new(check).take(&pattern, &answer(0, body)).is_ok();
        assert!(!taken(Check::Every, &body) && taken(Check::Ends, &body));
        body[599] ^= 1;
        assert!(!taken(Check::Ends, &body) && taken(Check::Length, &body));
    }

    #[test]
    fn answers_that_cannot_be_followed_are_refused() {
        for bad in ["HTTP/1.1 200 OK\r\n\r\n", "nonsense\r\n\r\n", &"x".repeat(HEAD_MAX)] {
            assert!(Reading::new(Check::Length).take(&Pattern::default(), bad.as_bytes()).is_err());
        }
        let more = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy";
        assert!(Reading::new(Check::Length).take(&Pattern::default(), more.as_bytes()).is_err());
    }
}
