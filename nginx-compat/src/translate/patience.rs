//! How long a client may take, and how many requests one connection carries: in nginx a matter of servers and
//! locations, in Forebay of listeners.

use proxy_config::listener::Listener;
use proxy_config::units::Duration;

use crate::translate::scope::Scope;
use crate::translate::value::time;
use crate::verdict::{Verdict, Verdicts};

/// nginx's defaults.
const REQUESTS: u32 = 1000;
const WAIT: Duration = Duration::secs(60);
const IDLE: Duration = Duration::secs(75);

/// What a server says of its listener; of several for one listener the first counts, as it is the default.
pub fn patience(scope: &Scope<'_>, listener: &mut Listener, verdicts: &mut Verdicts) {
    let is_first = listener.keep_alive_requests_max.is_none();
    let mut read = |name: &str, default: Duration, now: Duration| {
        let Some(line) = scope.one(name) else { return if is_first { default } else { now } };
        match line.argument(0).and_then(time) {
            Some(wanted) if is_first || wanted == now => {
                verdicts.add(line, Verdict::exact());
                wanted
            }
            Some(_) => {
                let why =
                    "the first server of this address has another, which holds for all of them";
                verdicts.add(line, Verdict::approximate(why));
                now
            }
            None => {
                verdicts.add(line, Verdict::unsupported("it is no time"));
                now
            }
        }
    };
    let times = listener.timeouts.clone();
    let above_zero = |time: Duration, or: Duration| if time.is_zero() { or } else { time };
    listener.timeouts.head = above_zero(read("client_header_timeout", WAIT, times.head), WAIT);
    listener.timeouts.body = above_zero(read("client_body_timeout", WAIT, times.body), WAIT);
    listener.timeouts.write = above_zero(read("send_timeout", WAIT, times.write), WAIT);
    let idle = read("keepalive_timeout", IDLE, times.idle);
    listener.timeouts.idle = above_zero(idle, IDLE);
    let requests = scope.one("keepalive_requests");
    if let Some(line) = requests {
        verdicts.add(line, Verdict::exact());
    }
    if is_first {
        let count = requests.and_then(|line| line.argument(0)).and_then(|count| count.parse().ok());
        let count = count.unwrap_or(REQUESTS).max(1);
        listener.keep_alive_requests_max = Some(if idle.is_zero() { 1 } else { count });
    }
}
