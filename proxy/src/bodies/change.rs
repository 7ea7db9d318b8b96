//! A change of one body.

use std::io;

pub trait Change: Send + Sync {
    /// Takes a part; says what it comes to so far.
    fn part(&mut self, part: &[u8]) -> io::Result<Vec<u8>>;

    /// What is left when the body ends.
    fn end(&mut self) -> io::Result<Vec<u8>>;
}
