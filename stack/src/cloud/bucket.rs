//! The bucket of releases: what is put there stays as it is, so that a name means the same bytes for good.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::{Cloud, CloudError, failure};
use crate::template::BYTES_MAX;

/// What putting an object came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there now.
    New,
    /// It was there, byte for byte.
    Same,
    /// There is another under its name, which stays.
    Another,
    /// One is there whose sum nobody wrote down when it was put.
    Unknown,
}

impl Cloud {
    /// Puts an object into a bucket unless there is one under its name.
    pub async fn put_once(&self, bucket: &str, key: &str, bytes: &[u8]) -> Result<Put, CloudError> {
        let sum = STANDARD.encode(Sha256::digest(bytes));
        if let Some(there) = self.sum_of(bucket, key).await? {
            return Ok(match there.as_str() {
                "" => Put::Unknown,
                there if there == sum => Put::Same,
                _ => Put::Another,
            });
        }
        let asked = self
            .buckets
            .put_object()
            .bucket(bucket)
            .key(key)
            // Whoever was quicker wins: nothing is written over.
            .if_none_match("*")
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_sha256(sum)
            .body(ByteStream::from(bytes.to_vec()));
        match asked.send().await {
            Ok(_) => Ok(Put::New),
            Err(error) if error.code() == Some("PreconditionFailed") => Ok(Put::Another),
            Err(error) => Err(failure(&format!("s3://{bucket}/{key}"), &error)),
        }
    }

    /// Whether an object is there.
    pub async fn is_there(&self, bucket: &str, key: &str) -> Result<bool, CloudError> {
        Ok(self.sum_of(bucket, key).await?.is_some())
    }

    /// The SHA-256 of an object in base64, as S3 keeps it; empty where it keeps none, none where there is
    /// no object.
    async fn sum_of(&self, bucket: &str, key: &str) -> Result<Option<String>, CloudError> {
        let asked = self.buckets.head_object().bucket(bucket).key(key);
        match asked.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(told) => Ok(Some(told.checksum_sha256().unwrap_or_default().to_owned())),
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => {
                Ok(None)
            }
            Err(error) => Err(failure(&format!("s3://{bucket}/{key}"), &error)),
        }
    }

    /// The address of a template that is too large to be handed over, once it is in the bucket; none for
    /// one that is not.
    pub(super) async fn handed_over(
        &self,
        stack: &str,
        body: &str,
        bucket: &str,
    ) -> Result<Option<String>, CloudError> {
        if body.len() <= BYTES_MAX {
            return Ok(None);
        }
        let digest = Sha256::digest(body.as_bytes());
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = format!("forebay-templates/{stack}/{name}.json");
        self.put_once(bucket, &key, body.as_bytes()).await?;
        Ok(Some(format!("https://{bucket}.s3.{}.amazonaws.com/{key}", self.region)))
    }
}
