//! A live view of a running proxy, made of its metrics as anybody may read them: [`samples`] reads an exposition,
//! [`figures`] says what two of them mean, [`view`] shows it.

pub mod figures;
pub mod samples;
pub mod view;
