//! `limit_rate`, `limit_rate_after` and `proxy_limit_rate`: how fast one response is sent.

use proxy_config::route_action::ResponseRate;
use proxy_config::units::{ByteRate, ByteSize};

use crate::translate::scope::Scope;
use crate::translate::value::size;
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// The rate at which clients are sent a response.
pub fn response_rate(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Option<ResponseRate> {
    let after = scope.one("limit_rate_after");
    let rate = read(scope.one("limit_rate"), verdicts)?;
    let after = read(after, verdicts).unwrap_or_default();
    Some(ResponseRate { rate: ByteRate(rate), after })
}

/// The rate at which an upstream is read: here it is read as fast as the client is sent to.
pub fn upstream_rate(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Option<ResponseRate> {
    let rate = read(scope.one("proxy_limit_rate"), verdicts)?;
    Some(ResponseRate { rate: ByteRate(rate), after: ByteSize::default() })
}

fn read(line: Option<&Directive>, verdicts: &mut Verdicts) -> Option<ByteSize> {
    let line = line?;
    match line.argument(0).and_then(size) {
        Some(size) => {
            verdicts.add(line, Verdict::exact());
            Some(size).filter(|size| size.as_bytes() > 0)
        }
        None => {
            verdicts.add(line, Verdict::unsupported("a rate in a variable is not translated"));
            None
        }
    }
}
