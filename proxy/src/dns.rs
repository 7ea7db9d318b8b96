//! Names that requests bring are looked up here, by a stub that asks one name server at a time and believes what it says
//! ([decision 0070](../../docs/decisions/0070-names-that-requests-bring.md)). [`message`] writes questions and reads
//! answers, [`stub`] asks them.

pub mod message;
pub mod stub;
