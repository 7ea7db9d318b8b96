//! One order (RFC 8555 section 7.4): the name is proved, a key is made, and the certificate for it is fetched.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, CertificateIdentifier, ChallengeType,
    Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use crate::acme::authority::Fault;
use crate::acme::challenges::{Challenges, Proving};
use crate::tls::shown::from_pem;

/// How long an authority may take to look, and to sign.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// How an authority can see whose a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A listener speaks cleartext.
    Http,
    Handshake,
}

/// Orders a certificate; returns its key and its chain in one PEM. `replaced` is the one it comes after.
pub async fn obtain(
    account: &Account,
    host: &str,
    replaced: Option<CertificateIdentifier<'static>>,
    way: Way,
    challenges: &Challenges,
) -> Result<String, Fault> {
    let mut order = placed(account, host, replaced).await?;
    let proving = prove(&mut order, host, way, challenges).await?;
    if order.poll_ready(&POLLING).await? != OrderStatus::Ready {
        return Err(why_invalid(&mut order).await);
    }
    drop(proving);
    let made = |error: rcgen::Error| Fault::refused(error.to_string());
    let key = KeyPair::generate().map_err(made)?;
    let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(made)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(made)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&POLLING).await?;
    let pem = format!("{}{chain}", key.serialize_pem());
    from_pem(pem.as_bytes(), host)
        .map_err(|why| Fault::refused(format!("what it issued is no use: {why}")))?;
    Ok(pem)
}

/// Says what is replaced where the authority listens to that, and orders all the same where it does not.
async fn placed(
    account: &Account,
    host: &str,
    replaced: Option<CertificateIdentifier<'static>>,
) -> Result<Order, Fault> {
    let names = [Identifier::Dns(host.to_owned())];
    if let Some(replaced) = replaced {
        match account.new_order(&NewOrder::new(&names).replaces(replaced)).await {
            Ok(order) => return Ok(order),
            Err(error) => tracing::debug!(%error, host, "ordered without what is replaced"),
        }
    }
    Ok(account.new_order(&NewOrder::new(&names)).await?)
}

/// Answers what the authority asks, as long as what it returns is kept.
async fn prove(
    order: &mut Order,
    host: &str,
    way: Way,
    challenges: &Challenges,
) -> Result<Vec<Proving>, Fault> {
    let mut proving = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            // Shown for an order before this one.
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            _ => return Err(why_not(&authorization)),
        }
        let (first, second) = match way {
            Way::Http => (ChallengeType::Http01, ChallengeType::TlsAlpn01),
            Way::Handshake => (ChallengeType::TlsAlpn01, ChallengeType::Http01),
        };
        let offers = |kind: &ChallengeType| {
            authorization.challenges.iter().any(|challenge| challenge.r#type == *kind)
        };
        let kind = if offers(&first) { first } else { second };
        let by_http = kind == ChallengeType::Http01;
        let Some(mut challenge) = authorization.challenge(kind) else {
            return Err(Fault::refused("it asks for a proof by neither http-01 nor tls-alpn-01"));
        };
        let key = challenge.key_authorization();
        let answered = match by_http {
            true => challenges.answer(&challenge.token, key.as_str()),
            false => challenges.show(host, key.digest().as_ref()),
        };
        proving.push(answered.map_err(Fault::refused)?);
        challenge.set_ready().await?;
    }
    Ok(proving)
}

fn why_not(authorization: &AuthorizationHandle<'_>) -> Fault {
    let said = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
    match said {
        Some(problem) => Fault::refused(problem.to_string()),
        None => Fault::refused(format!("the name is not proved: {:?}", authorization.status)),
    }
}

/// The order says only that it failed; its authorizations say why.
async fn why_invalid(order: &mut Order) -> Fault {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_ok()
            && authorization.status != AuthorizationStatus::Valid
        {
            return why_not(&authorization);
        }
    }
    Fault::refused("the order is invalid, and nobody says why")
}
