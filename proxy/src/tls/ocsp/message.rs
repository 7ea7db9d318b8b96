//! Questions of OCSP and their answers (RFC 6960), as bytes. An answer is believed when the certificate's issuer has signed
//! it, or whom the issuer has put in charge of that; and only for the time it names.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use sha1::{Digest, Sha1};
use thiserror::Error;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::der::asn1::{Null, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode, Error};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse,
    OcspResponseStatus, Request, SingleResponse, TbsRequest,
};
use x509_parser::extensions::{GeneralName, ParsedExtension};

/// Longest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Clocks differ.
const SKEW_S: i64 = 300;
/// How long an answer is good that does not say so.
const UNBOUNDED_S: i64 = 3600;
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
/// id-kp-OCSPSigning (RFC 6960 section 4.2.2.2), without tag and length.
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
const RESPONDER: &str = "1.3.6.1.5.5.7.48.1";

/// What is asked about a certificate.
#[derive(Debug)]
pub struct Question {
    /// The responder's URL, as the certificate names it.
    pub responder: String,
    issuer: CertificateDer<'static>,
    id: CertId,
}

/// When an answer was given, and until when it is good, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    pub this_update: i64,
    pub next_update: i64,
}

/// Why an answer is not stapled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("it is malformed: {0}")]
    Malformed(String),
    #[error("the responder says: {0}")]
    NoAnswer(String),
    #[error("it is not about this certificate")]
    Another,
    #[error("it is not signed by the issuer, nor by whom that put in charge")]
    Signature,
    #[error("it is over, or not good yet")]
    Time,
    #[error("the certificate is revoked")]
    Revoked,
    #[error("the responder does not know the certificate")]
    Unknown,
}

fn malformed(error: Error) -> Refusal {
    Refusal::Malformed(error.to_string())
}

impl Question {
    /// What to ask about the first certificate of a chain; `None` where it names no responder.
    pub fn of(chain: &[CertificateDer<'static>]) -> Result<Option<Question>, String> {
        let leaf = chain.first().ok_or("there is no certificate")?;
        let parse = |certificate| {
            let parsed = x509_parser::parse_x509_certificate(certificate);
            parsed.map(|(_, parsed)| parsed).map_err(|error| error.to_string())
        };
        let parsed = parse(leaf)?;
        let Some(responder) = responder(&parsed) else { return Ok(None) };
        let missing = "the certificate's file does not have the issuer's after it";
        let issuer = chain.get(1).ok_or(missing)?;
        let of_issuer = parse(issuer)?;
        if of_issuer.subject().as_raw() != parsed.issuer().as_raw() {
            return Err(missing.to_owned());
        }
        let hash = |bytes: &[u8]| OctetString::new(Sha1::digest(bytes).to_vec());
        let fault = |error: Error| error.to_string();
        let key = of_issuer.public_key().subject_public_key.data.as_ref();
        let id = CertId {
            hash_algorithm: AlgorithmIdentifierOwned { oid: SHA1, parameters: Some(Null.into()) },
            issuer_name_hash: hash(parsed.issuer().as_raw()).map_err(fault)?,
            issuer_key_hash: hash(key).map_err(fault)?,
            serial_number: SerialNumber::new(parsed.raw_serial()).map_err(fault)?,
        };
        Ok(Some(Question { responder, issuer: issuer.clone(), id }))
    }

    /// The bytes of the question.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        let request = Request { req_cert: self.id.clone(), single_request_extensions: None };
        let tbs_request = TbsRequest { request_list: vec![request], ..TbsRequest::default() };
        let whole = OcspRequest { tbs_request, optional_signature: None };
        whole.to_der().map_err(|error| error.to_string())
    }

    /// Whether an answer may be stapled now; `now` is in seconds since 1970.
    pub fn judge(&self, answer: &[u8], now: i64) -> Result<Answered, Refusal> {
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(Refusal::Malformed("it is too long".to_owned()));
        }
        let whole = OcspResponse::from_der(answer).map_err(malformed)?;
        let bytes = match (whole.response_status, whole.response_bytes) {
            (OcspResponseStatus::Successful, Some(bytes)) => bytes,
            (OcspResponseStatus::Successful, None) => {
                return Err(Refusal::Malformed("nothing is in it".to_owned()));
            }
            (status, _) => return Err(Refusal::NoAnswer(format!("{status:?}"))),
        };
        if bytes.response_type != BASIC {
            return Err(Refusal::Malformed("it is of an unknown type".to_owned()));
        }
        let basic = BasicOcspResponse::from_der(bytes.response.as_bytes()).map_err(malformed)?;
        let about = basic.tbs_response_data.responses.iter().find(|one| self.is_about(one));
        let about = about.ok_or(Refusal::Another)?;
        self.verify(&basic, now)?;
        let answered = timed(about, now)?;
        match about.cert_status {
            CertStatus::Good(_) => Ok(answered),
            CertStatus::Revoked(_) => Err(Refusal::Revoked),
            CertStatus::Unknown(_) => Err(Refusal::Unknown),
        }
    }

    fn is_about(&self, one: &SingleResponse) -> bool {
        let (own, id) = (&self.id, &one.cert_id);
        id.hash_algorithm.oid == own.hash_algorithm.oid
            && id.issuer_name_hash == own.issuer_name_hash
            && id.issuer_key_hash == own.issuer_key_hash
            && id.serial_number == own.serial_number
    }

    fn verify(&self, basic: &BasicOcspResponse, now: i64) -> Result<(), Refusal> {
        let signed = basic.tbs_response_data.to_der().map_err(malformed)?;
        let signature = basic.signature.as_bytes().ok_or(Refusal::Signature)?;
        let algorithm = basic.signature_algorithm.to_der().map_err(malformed)?;
        let issuer = EndEntityCert::try_from(&self.issuer).map_err(|_| Refusal::Signature)?;
        if is_signed_by(&issuer, &algorithm, &signed, signature) {
            return Ok(());
        }
        let anchor = anchor_from_trusted_cert(&self.issuer).map_err(|_| Refusal::Signature)?;
        let seconds = u64::try_from(now).map_err(|_| Refusal::Time)?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let all = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
        for delegate in basic.certs.iter().flatten() {
            let Ok(der) = delegate.to_der().map(CertificateDer::from) else { continue };
            let Ok(delegate) = EndEntityCert::try_from(&der) else { continue };
            let usage = KeyUsage::required(OCSP_SIGNING);
            let anchors = std::slice::from_ref(&anchor);
            let is_in_charge =
                delegate.verify_for_usage(all, anchors, &[], now, usage, None, None).is_ok();
            if is_in_charge && is_signed_by(&delegate, &algorithm, &signed, signature) {
                return Ok(());
            }
        }
        Err(Refusal::Signature)
    }
}

fn is_signed_by(
    signer: &EndEntityCert<'_>,
    algorithm: &[u8],
    signed: &[u8],
    signature: &[u8],
) -> bool {
    let all = rustls::crypto::ring::default_provider().signature_verification_algorithms.all;
    // As rustls has them: what is inside the sequence.
    let named = all.iter().filter(|known| {
        let id = known.signature_alg_id();
        algorithm.get(2..).is_some_and(|inner| inner == id.as_ref())
    });
    named.into_iter().any(|known| signer.verify_signature(*known, signed, signature).is_ok())
}

fn timed(about: &SingleResponse, now: i64) -> Result<Answered, Refusal> {
    let seconds = |time: &OcspGeneralizedTime| {
        i64::try_from(time.0.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
    };
    let this_update = seconds(&about.this_update);
    let next_update = match &about.next_update {
        Some(next) => seconds(next),
        None => now.saturating_add(UNBOUNDED_S),
    };
    let is_fresh = this_update <= now.saturating_add(SKEW_S) && next_update > now;
    if is_fresh { Ok(Answered { this_update, next_update }) } else { Err(Refusal::Time) }
}

/// Where the certificate says that it can be asked about (RFC 5280 section 4.2.2.1).
fn responder(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Option<String> {
    certificate.extensions().iter().find_map(|extension| {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else {
            return None;
        };
        access.accessdescs.iter().find_map(|description| {
            let is_responder = description.access_method.to_id_string() == RESPONDER;
            match &description.access_location {
                GeneralName::URI(uri) if is_responder => Some((*uri).to_owned()),
                _ => None,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    // All made by openssl, for the second certificate's first; good for a week.
    const CHAIN: &[u8] = include_bytes!("answers/chain.pem");
    const QUESTION: &[u8] = include_bytes!("answers/question.der");
    const BY_ISSUER: &[u8] = include_bytes!("answers/by_issuer.der");
    const BY_DELEGATE: &[u8] = include_bytes!("answers/by_delegate.der");
    /// Signed by whom the issuer knows, but did not put in charge.
    const BY_ANOTHER: &[u8] = include_bytes!("answers/by_another.der");
    const REVOKED: &[u8] = include_bytes!("answers/revoked.der");
    const UNKNOWN: &[u8] = include_bytes!("answers/unknown.der");
    const GIVEN: i64 = 1_795_871_363;
    const WEEK: i64 = 7 * 86_400;

    fn chain() -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(CHAIN).map(Result::unwrap).collect()
    }

    fn question() -> Question {
        Question::of(&chain()).unwrap().unwrap()
    }

    #[test]
    fn a_question_is_the_one_others_ask() {
        assert_eq!(question().responder, "http://127.0.0.1:9/ocsp");
        assert_eq!(question().bytes().unwrap(), QUESTION);
        let own = chain();
        assert!(Question::of(&own[..1]).unwrap_err().contains("issuer"), "no issuer");
        assert!(Question::of(&[own[0].clone(), own[0].clone()]).is_err(), "another issuer");
        assert!(Question::of(&own[1..]).unwrap().is_none(), "no responder");
        assert!(Question::of(&[]).is_err());
    }

    #[test]
    fn answers_are_believed_by_who_signed_them_and_for_their_time() {
        let given = Answered { this_update: GIVEN, next_update: GIVEN + WEEK };
        for (answer, now, judged) in [
            (BY_ISSUER, GIVEN, Ok(given)),
            (BY_ISSUER, GIVEN + WEEK - 1, Ok(given)),
            (BY_ISSUER, GIVEN - 200, Ok(given)),
            (BY_ISSUER, GIVEN - 400, Err(Refusal::Time)),
            (BY_ISSUER, GIVEN + WEEK, Err(Refusal::Time)),
            (BY_DELEGATE, GIVEN + 60, Ok(answered(BY_DELEGATE))),
            (BY_ANOTHER, GIVEN + 60, Err(Refusal::Signature)),
            (REVOKED, GIVEN + 60, Err(Refusal::Revoked)),
            (UNKNOWN, GIVEN + 60, Err(Refusal::Unknown)),
        ] {
            assert_eq!(question().judge(answer, now), judged, "at {}", now - GIVEN);
        }
        let later = Refusal::NoAnswer("TryLater".to_owned());
        assert_eq!(question().judge(&[0x30, 3, 0x0a, 1, 3], GIVEN), Err(later));
        let other = Question {
            id: CertId { serial_number: SerialNumber::new(&[5]).unwrap(), ..question().id },
            ..question()
        };
        assert_eq!(other.judge(BY_ISSUER, GIVEN), Err(Refusal::Another));
    }

    fn answered(answer: &[u8]) -> Answered {
        question().judge(answer, GIVEN + 60).unwrap()
    }

    #[test]
    fn an_answer_that_is_changed_anywhere_is_refused() {
        let question = question();
        for at in 0..BY_ISSUER.len() {
            for bit in 0..8 {
                let mut changed = BY_ISSUER.to_vec();
                changed[at] ^= 1 << bit;
                assert!(question.judge(&changed, GIVEN).is_err(), "bit {bit} of byte {at}");
            }
            assert!(question.judge(&BY_ISSUER[..at], GIVEN).is_err());
        }
        let longer = [BY_ISSUER, &[0]].concat();
        assert!(question.judge(&longer, GIVEN).is_err());
        assert!(question.judge(&vec![0; ANSWER_BYTES_MAX + 1], GIVEN).is_err());
    }
}
