//! What must hold whatever a stranger sends. Each target takes any bytes, and panics where something does not hold.

use std::io::Cursor;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::BytesMut;
use forebay_proxy::fastcgi::answer;
use forebay_proxy::fastcgi::record::{Decoder, Heard};
use forebay_proxy::framing::Framing;
use forebay_proxy::guard::token::Tokens;
use forebay_proxy::metrics::Metrics;
use forebay_proxy::path::normalize_target;
use forebay_proxy::proxy_protocol::{Ends, Header, Progress, read, write_v1, write_v2};
use forebay_proxy::request;
use forebay_proxy::signed::Signed;
use forebay_proxy::tls::ocsp::message::Question;
use forebay_proxy::upstream::connector::Connector;
use forebay_proxy::upstream::server::Servers;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use pingora::proxy::Session;
use proxy_config::listener::Listener;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::runtime::Runtime;

/// The key of what is signed here.
const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
/// Long after everybody who reads this.
const EXPIRES: u64 = 32_503_680_000;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A certificate, its issuer's, and what openssl answers about it.
const CHAIN: &[u8] = include_bytes!("../../../src/tls/ocsp/answers/chain.pem");
const ANSWER: &[u8] = include_bytes!("../../../src/tls/ocsp/answers/by_delegate.der");
const ANSWERED: i64 = 1_795_871_400;

pub fn ocsp_seeds() -> [Vec<u8>; 2] {
    let by_issuer = include_bytes!("../../../src/tls/ocsp/answers/by_issuer.der");
    [ANSWER.to_vec(), by_issuer.to_vec()]
}

/// An answer that is believed is good now; chains are taken in any order or not at all.
pub fn ocsp_answer(bytes: &[u8]) {
    let chain = CertificateDer::pem_slice_iter(CHAIN).collect::<Result<Vec<_>, _>>().unwrap();
    let question = Question::of(&chain).unwrap().unwrap();
    if let Ok(answered) = question.judge(bytes, ANSWERED) {
        assert!(answered.this_update <= ANSWERED + 300 && answered.next_update > ANSWERED);
    }
    let stranger = CertificateDer::from(bytes.to_vec());
    let _ = Question::of(&[stranger.clone(), chain[1].clone()]);
    let _ = Question::of(&[chain[0].clone(), stranger]);
}

/// A request that is taken has one reading: one Host, one statement of its length, one form of its path; and how
/// its bytes came in pieces makes no difference to where it ends.
pub fn request_head(bytes: &[u8]) {
    let followed = |cut: usize| {
        let mut framing = Framing::default();
        let first = framing.read(&bytes[..cut]).map_err(|(fault, _)| fault);
        first.and_then(|()| framing.read(&bytes[cut..]).map_err(|(fault, _)| fault))
    };
    assert_eq!(followed(0), followed(bytes.len() / 2));
    runtime().block_on(async {
        let mut session = Session::new_h1(Box::new(Cursor::new(bytes.to_vec())));
        if !matches!(session.downstream_session.read_request().await, Ok(true)) {
            return;
        }
        let listener = Listener::at("127.0.0.1:80".parse().unwrap());
        if request::admit(&mut session, Some(&listener)).is_err() {
            return;
        }
        let head = session.req_header();
        assert!(head.headers.get_all(HOST).iter().count() <= 1);
        let lengths = head.headers.get_all(CONTENT_LENGTH).iter().count();
        assert!(lengths + head.headers.get_all(TRANSFER_ENCODING).iter().count() <= 1);
        let target = head.raw_path();
        if target != b"*" {
            assert_eq!(normalize_target(target).unwrap().as_ref(), target, "not one form");
            assert!(target.starts_with(b"/") && !target.iter().any(u8::is_ascii_control));
        }
        for value in head.headers.get_all(UPGRADE) {
            let offers = value.to_str().unwrap().to_ascii_lowercase();
            let mut names = offers.split(", ").map(|offer| offer.split('/').next().unwrap());
            assert!(!names.any(|name| ["h2c", "h2", "http", "tls"].contains(&name)), "{offers}");
        }
    });
}

/// Records mean the same in whatever pieces they come.
pub fn fastcgi(bytes: &[u8]) {
    let heard = |cut: usize| {
        let (mut decoder, mut from) = (Decoder::default(), BytesMut::from(&bytes[..cut]));
        let (mut output, mut errors, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for rest in [&bytes[cut..], &[][..]] {
            loop {
                match decoder.next(&mut from) {
                    Ok(Some(Heard::Stdout(part))) => output.extend_from_slice(&part),
                    Ok(Some(Heard::Stderr(part))) => errors.extend_from_slice(&part),
                    Ok(Some(Heard::End { protocol_status })) => ends.push(protocol_status),
                    Ok(None) => break,
                    Err(fault) => return (output, errors, ends, Some(fault)),
                }
            }
            from.extend_from_slice(rest);
        }
        (output, errors, ends, None)
    };
    let whole = heard(bytes.len());
    assert_eq!(whole, heard(bytes.len() / 3));
    assert!(whole.0.len() + whole.1.len() <= bytes.len());
    if let Ok(Some(end)) = answer::end(&whole.0) {
        let head = answer::read(&whole.0[..end]);
        assert!(head.is_err() || head.is_ok_and(|head| head.status.as_u16() >= 200));
    }
}

pub fn fastcgi_seeds() -> Vec<Vec<u8>> {
    let record = |kind: u8, content: &[u8], padding: u8| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let head = [1, kind, 0, 1, length[0], length[1], padding, 0];
        [&head[..], content, &vec![0; usize::from(padding)]].concat()
    };
    let answer = b"Status: 404 Not Found\r\nContent-Type: text/html\r\nSet-Cookie: a=b\r\n\r\nbody";
    let end = record(3, &[0; 8], 0);
    vec![
        [record(6, answer, 3), record(7, b"a warning", 7), end.clone()].concat(),
        [record(6, &answer[..10], 0), record(6, &answer[10..], 1), record(6, b"", 0), end].concat(),
    ]
}

/// A header is read whole or not at all, and says the same when it is written again.
pub fn proxy_protocol(bytes: &[u8]) {
    let Ok(progress) = read(bytes) else { return };
    let Progress::Whole(header, length) = progress else { return };
    assert!(length <= bytes.len());
    for cut in [0, length / 2, length - 1] {
        assert_eq!(read(&bytes[..cut]), Ok(Progress::More), "{cut} of {length} bytes");
    }
    assert_eq!(read(&bytes[..length]), Ok(progress), "what follows has no say");
    let again = write_v2(header);
    assert_eq!(read(&again), Ok(Progress::Whole(header, again.len())));
}

pub fn proxy_protocol_seeds() -> Vec<Vec<u8>> {
    let ends = |source: &str, destination: &str| {
        Header::For(Ends {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        })
    };
    let four = ends("192.0.2.7:40000", "198.51.100.1:443");
    let six = ends("[2001:db8::7]:40000", "[2001:db8::1]:443");
    let mut seeds: Vec<Vec<u8>> = [four, six, Header::Local]
        .into_iter()
        .flat_map(|of| [write_v1(of), write_v2(of)])
        .collect();
    for seed in &mut seeds {
        seed.extend_from_slice(b"GET / HTTP/1.1\r\n");
    }
    seeds
}

fn hmac(text: &str) -> Vec<u8> {
    use ring::hmac::{HMAC_SHA256, Key, sign};
    sign(&Key::new(HMAC_SHA256, SECRET), text.as_bytes()).as_ref().to_vec()
}

pub fn good_token() -> String {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let claims = format!(r#"{{"iss":"me","aud":"tv","sub":"1","exp":{EXPIRES}}}"#);
    let signed = format!("{}.{}", part(r#"{"alg":"HS256","kid":"1"}"#), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(hmac(&signed));
    format!("{signed}.{signature}")
}

/// No token passes but the one that was signed.
pub fn token(bytes: &[u8]) {
    static TOKENS: OnceLock<(Tokens, String, Runtime, Arc<Connector>)> = OnceLock::new();
    let (tokens, good, runtime, connector) = TOKENS.get_or_init(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let secret = URL_SAFE_NO_PAD.encode(SECRET);
        let keys = format!(r#"{{"keys":[{{"kty":"oct","kid":"1","k":"{secret}"}}]}}"#);
        std::fs::write(file.path(), keys).unwrap();
        let config = serde_json::json!({
            "jwks_file": file.path(), "issuer": "me", "audiences": ["tv"]
        });
        let config = serde_json::from_value(config).unwrap();
        let tokens = Tokens::new(&config, &Servers::default(), &Metrics::new());
        let tokens = tokens.unwrap_or_else(|fault| panic!("{fault}"));
        (tokens, good_token(), runtime(), Arc::new(Connector::new(Metrics::new().upstream_idle)))
    });
    let authorization = [&b"Bearer "[..], bytes].concat();
    let claims = runtime.block_on(tokens.check(Some(&authorization), None, connector));
    let is_good = bytes.trim_ascii() == good.as_bytes();
    assert_eq!(claims.is_ok(), is_good, "{claims:?}");
}

pub fn good_query() -> String {
    let hex: String =
        hmac(&format!("/live/\n{EXPIRES}")).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("scope=/live/&expires={EXPIRES}&signature={hex}")
}

/// No query lets anybody in but one with all that was signed.
pub fn signed_url(bytes: &[u8]) {
    static SIGNED: OnceLock<Signed> = OnceLock::new();
    let signed = SIGNED.get_or_init(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), SECRET).unwrap();
        let config = serde_json::json!({ "format": "hmac", "key_files": [file.path()] });
        Signed::new(&serde_json::from_value(config).unwrap())
            .unwrap_or_else(|fault| panic!("{fault}"))
    });
    let Ok(query) = std::str::from_utf8(bytes) else { return };
    let passes = signed.check("/live/a.m3u8", query, &HeaderMap::new()).is_ok();
    let good = good_query();
    let has = |part: &str| query.split('&').any(|pair| pair.eq_ignore_ascii_case(part));
    if passes {
        assert!(good.split('&').all(has), "{query}");
    }
    assert!(signed.check("/other/a.m3u8", query, &HeaderMap::new()).is_err());
}
