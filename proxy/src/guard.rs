//! What a route demands that a request proves: a signature, a password or a token.
//!
//! Its parts: [`crate::signed`] and [`cloudfront`] for URLs and cookies, [`basic`] with [`users`] for passwords,
//! [`token`] with [`jwks`] and [`key_set`] for tokens.

pub mod basic;
pub mod cloudfront;
pub mod des_crypt;
pub mod fault;
pub mod jwks;
pub mod key_set;
pub mod token;
pub mod users;

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST};
use pingora::http::RequestHeader;
use proxy_config::facts::cookie;
use proxy_config::proved::Proved;
use proxy_config::route_access::{Auth, SignatureFormat};

use crate::failure::Failure;
use crate::guard::basic::Basic;
use crate::guard::cloudfront::CloudFront;
use crate::guard::fault::GuardFault;
use crate::guard::token::Tokens;
use crate::metrics::Metrics;
use crate::runtimes::Handles;
use crate::signed::Signed;
use crate::upstream::connector::Connector;
use crate::upstream::server::Servers;

/// The guard of a route.
pub enum Guard {
    Signed(Signed),
    CloudFront(CloudFront),
    Basic(Box<Basic>),
    Tokens(Tokens),
}

impl Guard {
    /// Reads the files of keys and users.
    pub fn new(
        auth: Option<&Auth>,
        servers: &Servers,
        metrics: &Metrics,
    ) -> Result<Option<Guard>, GuardFault> {
        Ok(Some(match auth {
            Some(Auth::SignedUrl(signed)) => match signed.format {
                SignatureFormat::Hmac => Guard::Signed(Signed::new(signed)?),
                SignatureFormat::Cloudfront => Guard::CloudFront(CloudFront::new(signed)?),
            },
            Some(Auth::Basic(basic)) => Guard::Basic(Box::new(Basic::new(basic)?)),
            Some(Auth::Jwt(jwt)) => Guard::Tokens(Tokens::new(jwt, servers, metrics)?),
            // Refused when the document is read.
            Some(Auth::Subrequest(_)) | None => return Ok(None),
        }))
    }

    /// Adds what the request proves to what is known of its client. `users` is the file of users and the realm, where the
    /// request has a say in them.
    ///
    /// Errors: `Forbidden`, `Unauthorized`, and `KeysUnavailable` when nothing can be verified.
    pub async fn check(
        &self,
        head: &RequestHeader,
        client: Option<IpAddr>,
        users: Option<&(String, String)>,
        (runtimes, connector): (&Handles, &Arc<Connector>),
        proved: &mut Proved,
    ) -> Result<(), Failure> {
        let authorization = head.headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes);
        match self {
            Guard::Signed(signed) => {
                signed.check(head.uri.path(), head.uri.query().unwrap_or_default(), &head.headers)
            }
            Guard::CloudFront(signed) => {
                let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
                let target = String::from_utf8_lossy(head.raw_path());
                signed.check(host.unwrap_or_default(), &target, &head.headers, client)
            }
            Guard::Basic(basic) => {
                proved.user = basic.check(authorization, users, runtimes).await?;
                Ok(())
            }
            Guard::Tokens(tokens) => {
                let in_cookie =
                    tokens.cookie().and_then(|name| cookie(&head.headers, name)).map(str::as_bytes);
                proved.claims = tokens.check(authorization, in_cookie, connector).await?;
                Ok(())
            }
        }
    }
}
