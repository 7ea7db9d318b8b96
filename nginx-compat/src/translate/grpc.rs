//! `grpc_pass`: a location whose requests go to a server that speaks HTTP/2.

use proxy_config::Route;
use proxy_config::route::ForwardedHeaders;
use proxy_config::route_action::HeaderEdits;

use crate::translate::answer::{Here, body_max};
use crate::translate::proxy_pass::{GRPC, Target};
use crate::translate::site::Work;
use crate::translate::upstream::timeouts;
use crate::translate::variable::Place;
use crate::translate::{request_header, response_header};
use crate::tree::Directive;
use crate::verdict::Verdict;

/// The route of a place that passes calls on.
pub fn passed<'a>(
    here: &Here<'_, 'a>,
    pass: &'a Directive,
    work: &mut Work<'_, 'a>,
) -> Result<Route, String> {
    let target = target(pass)?;
    let timeouts = timeouts(here.scope, GRPC, work.verdicts);
    let upstream = work.pools.name_of(&target, here.scope, timeouts, work.verdicts, work.files)?;
    let place = Place { proxy: Some(target.names()), proxy_tls: target.tls, ..here.place.clone() };
    let headers = request_header::edits((GRPC, here.scope), &place, work.names, work.verdicts);
    let response_headers =
        response_header::edits(here.scope, Some(GRPC), &place, work.names, work.verdicts);
    work.verdicts.add(pass, Verdict::exact());
    Ok(Route {
        request_headers: Some(headers),
        response_headers: response_headers.filter(|edits| *edits != HeaderEdits::default()),
        forwarded_headers: ForwardedHeaders::PassOn,
        request_body_max: body_max(here.scope, work.verdicts),
        upgrades: Some(Vec::new()),
        ..Route::to("", upstream)
    })
}

fn target(pass: &Directive) -> Result<Target<'_>, String> {
    let text = pass.argument(0).unwrap_or_default();
    let (tls, authority) = match text.split_once("://") {
        Some(("grpc", rest)) => (false, rest),
        Some(("grpcs", rest)) => (true, rest),
        Some(_) => return Err(format!("nginx refuses it: invalid URL prefix in {text:?}")),
        None => (false, text),
    };
    if authority.contains('$') {
        return Err("a gRPC server that variables name is not translated".to_owned());
    }
    Ok(Target { family: GRPC, authority, tls, uri: None, by_variables: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::include::Includes;
    use crate::parse::parse_bytes;
    use crate::translate::translate;
    use proxy_config::upstream::UpstreamProtocol;

    #[test]
    fn calls_go_to_servers_of_http_2() {
        let text = "http { upstream pool { server 127.0.0.1:1; } server { listen 80 http2;\n\
                    location /a { grpc_pass grpc://pool; grpc_read_timeout 5s; grpc_set_header X y; }\n\
                    location /b { grpc_pass 127.0.0.1:2; } location /c { grpc_pass grpcs://127.0.0.1:3; } } }";
        let document = parse_bytes("t", text.as_bytes(), Includes::Unfollowed).document;
        let translation = translate(&document);
        let config = translation.config.unwrap();
        let of = |label: &str| {
            let is = |route: &&Route| route.name.ends_with(label);
            let route = config.routes.iter().find(is).unwrap();
            (route, &config.upstreams[route.upstream.as_deref().unwrap()])
        };
        let (route, pool) = of("a");
        assert_eq!(pool.protocol, Some(UpstreamProtocol::Http2));
        assert_eq!(pool.timeouts.read.as_millis(), 5000);
        assert_eq!(route.request_headers.as_ref().unwrap().set["x"].0, "y");
        assert_eq!(of("b").1.protocol, Some(UpstreamProtocol::Http2));
        assert!(of("c").1.tls.is_some());
        crate::tree::walk(&document.directives, &mut |line| {
            let verdict = translation.verdicts.get(line).unwrap();
            assert_ne!(
                verdict.exactness,
                crate::verdict::Exactness::Unsupported,
                "{}",
                line.heading()
            );
        });
    }
}
