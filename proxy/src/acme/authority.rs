//! An authority, asked over HTTPS: by a client of the proxy's own, since the library's has no limits.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{Account, BodyWrapper, BytesResponse, Error, HttpClient, NewAccount};
use jiff::Timestamp;
use rustls::{ClientConfig, RootCertStore};

use crate::acme::folder::{Folder, Kept};
use crate::acme::schedule::Failed;
use crate::retry_after::retry_after;
use crate::tls::keys::chain;

/// Longest answer of an authority; a chain has a few KiB.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// How long an authority may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// It has forgotten an account (RFC 8555 section 6.7).
const UNKNOWN_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why there is no certificate yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub failed: Failed,
    pub why: String,
}

impl Fault {
    pub fn refused(why: impl Into<String>) -> Fault {
        Fault { failed: Failed::Refused, why: why.into() }
    }

    fn unreachable(why: impl Into<String>) -> Fault {
        Fault { failed: Failed::Unreachable, why: why.into() }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let why = described(&error);
        match error {
            // What answers in another way is something in front of the authority.
            Error::Http(_) | Error::InvalidUri(_) | Error::Json(_) | Error::Other(_) => {
                Fault::unreachable(why)
            }
            _ => Fault::refused(why),
        }
    }
}

/// An error with all that is beneath it.
fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(deeper) = source {
        let said = deeper.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = deeper.source();
    }
    text
}

/// How an account is asked for.
pub struct Asking {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    /// Until when the authority wants to be left in peace, in seconds since 1970.
    peace: Arc<AtomicI64>,
}

impl Asking {
    /// `authorities` is a PEM file; without it, those of the system are trusted.
    pub fn new(authorities: Option<&Path>, peace: &Arc<AtomicI64>) -> Result<Asking, String> {
        let mut roots = RootCertStore::empty();
        let trusted = match authorities {
            Some(file) => chain(file)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        let (taken, _) = roots.add_parsable_certificates(trusted);
        if taken == 0 {
            let file = authorities.map(|file| file.display().to_string());
            return Err(match file {
                Some(file) => format!("{file} holds no authority"),
                None => "this machine trusts no authority: install ca-certificates, or name `acme.authorities`".to_owned(),
            });
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only();
        let client = Client::builder(TokioExecutor::new()).build(connector.enable_http1().build());
        Ok(Asking { client, peace: Arc::clone(peace) })
    }
}

impl HttpClient for Asking {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (asked, peace) = (self.client.request(request), Arc::clone(&self.peace));
        Box::pin(async move {
            let answered = async {
                let (parts, body) = asked.await.map_err(|e| Error::Other(e.into()))?.into_parts();
                let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
                Ok::<_, Error>((parts, whole.map_err(Error::Other)?.to_bytes()))
            };
            let in_time = tokio::time::timeout(ANSWER_MAX, answered).await;
            let (parts, body) =
                in_time.map_err(|_| Error::Other("nobody answered in time".into()))??;
            let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
            if busy.contains(&parts.status)
                && let Some(after) = parts.headers.get(header::RETRY_AFTER)
            {
                let now = Timestamp::now().as_second();
                let wait = retry_after(after.as_bytes(), now).unwrap_or_default();
                let until = now.saturating_add_unsigned(wait.as_secs());
                peace.fetch_max(until, Ordering::Relaxed);
            }
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

/// Opens the account that is kept, or makes one; `contact` is the document's.
pub async fn account(
    folder: &Folder,
    directory: &str,
    contact: Option<&str>,
    asking: Asking,
) -> Result<Account, Fault> {
    let disk =
        |error: std::io::Error| Fault::unreachable(format!("{}: {error}", folder.path().display()));
    let builder = Account::builder_with_http(Box::new(asking));
    let mail = contact.map(|contact| match contact.starts_with("mailto:") {
        true => contact.to_owned(),
        false => format!("mailto:{contact}"),
    });
    let mail: Vec<&str> = mail.iter().map(String::as_str).collect();
    let written = contact.map(str::to_owned);
    let Some(kept) = folder.account().map_err(disk)? else {
        let new = NewAccount {
            contact: &mail,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) = builder.create(&new, directory.to_owned(), None).await?;
        folder.keep_account(&Kept { contact: written, credentials }).map_err(disk)?;
        tracing::info!(directory, account = account.id(), "an account was made");
        return Ok(account);
    };
    if kept.contact == written {
        return Ok(builder.from_credentials(kept.credentials).await?);
    }
    let again = serde_json::to_vec(&kept.credentials).map_err(|e| Fault::refused(e.to_string()))?;
    let credentials =
        serde_json::from_slice(&again).map_err(|error| Fault::refused(error.to_string()))?;
    let account = builder.from_credentials(kept.credentials).await?;
    account.update_contacts(&mail).await?;
    folder.keep_account(&Kept { contact: written, credentials }).map_err(disk)?;
    Ok(account)
}

/// Whether the authority has forgotten the account; it is put aside, so that the next attempt makes one.
pub fn is_forgotten(folder: &Folder, fault: &Fault) -> bool {
    let is_unknown = fault.why.contains(UNKNOWN_ACCOUNT);
    if is_unknown {
        tracing::warn!(path = %folder.path().display(), "the authority does not know the account: another is made");
        if let Err(error) = folder.set_account_aside() {
            tracing::error!(%error, "the account cannot be put aside");
        }
    }
    is_unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, "").unwrap();
        let fault = Asking::new(Some(&file), &Arc::default()).err().unwrap();
        assert!(fault.contains("ca.pem"), "{fault}");
    }
}
