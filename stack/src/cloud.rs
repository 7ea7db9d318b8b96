//! AWS, as Forebay talks to it: the only files that name its SDK. What comes out is plain values of
//! ours; what goes wrong is a [`CloudError`] that says what to do.
//!
//! Retries, throttling and paging are the SDK's, within limits set here. `AWS_ENDPOINT_URL` leads
//! it elsewhere, which the tests do.

mod bucket;
mod change_set;
mod drift;
mod events;
mod quotas;
mod stacks;

pub use bucket::Put;
pub use change_set::{Parameter, Proposal, ProposedChange};
pub use drift::Drift;
pub use events::Event;
pub use stacks::StackState;

use std::fmt;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_cloudformation::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls;

/// How often a call is made before it counts as failed. Throttling is answered by waiting longer
/// each time, so this is a matter of minutes.
const ATTEMPTS_MAX: u32 = 8;

/// Why AWS did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    #[error(
        "there are no credentials for AWS: {0}. `aws sso login`, or AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY in the environment"
    )]
    Credentials(String),
    #[error(
        "the credentials are those of account {actual}, and the file says {wanted}; nothing was done"
    )]
    Account { wanted: String, actual: String },
    #[error("{what}: {code}: {message}")]
    Refused { what: String, code: String, message: String },
    #[error("{what}: {message}")]
    Unreachable { what: String, message: String },
    #[error("{what}: AWS did not answer as it should: {message}")]
    Odd { what: String, message: String },
}

impl CloudError {
    /// The service's own code, `ValidationError`; empty where it did not come to an answer.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            _ => "",
        }
    }

    pub fn message(&self) -> &str {
        match self {
            Self::Refused { message, .. }
            | Self::Unreachable { message, .. }
            | Self::Odd { message, .. }
            | Self::Credentials(message) => message,
            Self::Account { .. } => "",
        }
    }

    fn odd(what: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Odd { what: what.into(), message: message.into() }
    }
}

/// Whoever the credentials belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub account: String,
    pub arn: String,
}

/// CloudFormation in one region, and what it is asked beside it: buckets, quotas, images.
#[derive(Clone, Debug)]
pub struct Cloud {
    client: aws_sdk_cloudformation::Client,
    identity: aws_sdk_sts::Client,
    buckets: aws_sdk_s3::Client,
    quotas: aws_sdk_servicequotas::Client,
    parameters: aws_sdk_ssm::Client,
    region: String,
}

impl Cloud {
    /// A connection to `region`; nothing is called yet.
    pub async fn of(region: &str) -> Self {
        let crypto = tls::rustls_provider::CryptoMode::Ring;
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(crypto))
            .build_https();
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS_MAX)
            .with_max_backoff(Duration::from_secs(20));
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .http_client(http)
            .retry_config(retries)
            .load()
            .await;
        Self {
            client: aws_sdk_cloudformation::Client::new(&config),
            identity: aws_sdk_sts::Client::new(&config),
            buckets: aws_sdk_s3::Client::new(&config),
            quotas: aws_sdk_servicequotas::Client::new(&config),
            parameters: aws_sdk_ssm::Client::new(&config),
            region: region.to_owned(),
        }
    }

    /// A connection whose credentials are those of `account`, asked before anything else.
    pub async fn checked(region: &str, account: &str) -> Result<Self, CloudError> {
        let cloud = Self::of(region).await;
        let Identity { account: actual, .. } = cloud.who().await?;
        if actual != account {
            return Err(CloudError::Account { wanted: account.to_owned(), actual });
        }
        Ok(cloud)
    }

    /// Whose credentials these are.
    pub async fn who(&self) -> Result<Identity, CloudError> {
        let told = self.identity.get_caller_identity().send().await;
        let told = told.map_err(|error| failure("who the credentials belong to", &error))?;
        Ok(Identity {
            account: told.account().unwrap_or_default().to_owned(),
            arn: told.arn().unwrap_or_default().to_owned(),
        })
    }

    /// The limits of the account, by name: `StackLimit` and the like.
    pub async fn limits(&self) -> Result<Vec<(String, i32)>, CloudError> {
        let what = "the limits of the account";
        let told = self.client.describe_account_limits().send().await;
        let told = told.map_err(|error| failure(what, &error))?;
        let one = |limit: &aws_sdk_cloudformation::types::AccountLimit| {
            Some((limit.name()?.to_owned(), limit.value()?))
        };
        Ok(told.account_limits().iter().filter_map(one).collect())
    }

    /// Whether CloudFormation takes a template, as far as it looks without making anything. What is too
    /// large to be handed over is put into `bucket` first.
    pub async fn validate(&self, name: &str, body: &str, bucket: &str) -> Result<(), CloudError> {
        let asked = self.client.validate_template();
        let asked = match self.handed_over(name, body, bucket).await? {
            Some(url) => asked.template_url(url),
            None => asked.template_body(body),
        };
        let told = asked.send().await;
        told.map(|_| ()).map_err(|error| failure(&format!("the template of {name}"), &error))
    }
}

/// An error of the SDK as ours.
fn failure<E>(what: &str, error: &SdkError<E>) -> CloudError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    SdkError<E>: fmt::Debug,
{
    let what = what.to_owned();
    let told = DisplayErrorContext(error).to_string();
    match error {
        SdkError::ServiceError(refused) => {
            let meta = refused.err();
            CloudError::Refused {
                what,
                code: meta.code().unwrap_or("unknown").to_owned(),
                message: meta.message().unwrap_or("no reason was given").to_owned(),
            }
        }
        SdkError::ResponseError(_) => CloudError::Odd { what, message: told },
        _ if told.contains("credential") || told.contains("Credential") => {
            CloudError::Credentials(first_line(&told))
        }
        _ => CloudError::Unreachable { what, message: first_line(&told) },
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

/// Seconds since 1970, and thousandths.
fn millis(time: Option<&aws_sdk_cloudformation::primitives::DateTime>) -> i64 {
    time.and_then(|time| time.to_millis().ok()).unwrap_or_default()
}
