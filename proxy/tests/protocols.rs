//! What is spoken beside plain requests and answers, and what strangers send in place of them.

mod chats;
mod fuzzed;
mod handing_out;
mod interim;
mod mutations;
mod parsing;
mod php;
mod php_server;
mod real_clients;
mod traces;
pub mod tunnels;
