use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::client::Response;
use crate::harness::{Proxy, dead_address, upstream};
use crate::origin::Origin;

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

fn proxy(origin: &Origin, route: &str, more: &str) -> Proxy {
    let upstream = crate::harness::upstream(&[origin.address]);
    Proxy::start(&format!(
        "upstreams: {{ u: {upstream} }}\nroutes: [ {{ name: all, upstream: u, {route} }} ]\n{more}"
    ))
}

fn ask(proxy: &Proxy, path: &str, fields: &str) -> Response {
    proxy.client().ask(&format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn seen(origin: &Origin, field: &str) -> String {
    let head = origin.heads().pop().unwrap();
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(field));
    line.map_or("", |line| line.split_once(": ").map_or("", |(_, value)| value)).to_owned()
}

#[test]
fn users_prove_themselves_by_password() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    // "correct horse" for both; "U*U" in bcrypt.
    let lines = "ann:$apr1$abcdefgh$sIQmFnT1CuEXAsyjuXjUX/\nbob:{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=\neve:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";
    std::fs::write(&users, lines).unwrap();
    let origin = Origin::saying("ok");
    let auth = format!(
        "auth: {{ basic: {{ users_file: {}, realm: members }} }}, request_headers: {{ set: {{ x-user: $user }}, remove: [ authorization ] }}",
        users.display()
    );
    let proxy = proxy(&origin, &auth, "");
    let with = |pair: &str| {
        ask(&proxy, "/", &format!("Authorization: Basic {}\r\n", STANDARD.encode(pair)))
    };
    let refused = ask(&proxy, "/none", "");
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Basic realm=\"members\", charset=\"UTF-8\"")
    );
    assert_eq!(proxy.log_of("/none")["error"], "unauthorized");
    for wrong in ["ann:", "ann:wrong", "nobody:correct horse", "eve:U*U*", ":", "ann"] {
        assert_eq!(with(wrong).status, 401, "{wrong}");
    }
    assert_eq!(origin.requests(), 0);
    for (pair, user) in [
        ("ann:correct horse", "ann"),
        ("bob:correct horse", "bob"),
        ("eve:U*U", "eve"),
        ("ann:correct horse", "ann"),
    ] {
        assert_eq!(with(pair).status, 200, "{pair}");
        assert_eq!(seen(&origin, "x-user:"), user);
        assert_eq!(seen(&origin, "authorization:"), "");
    }
    std::fs::write(&users, "ann:secret\n").unwrap();
    assert!(!proxy.reload());
    proxy.says("line 1");
    std::fs::write(&users, lines.replace("ann", "zoe")).unwrap();
    assert!(proxy.reload());
    assert_eq!(with("ann:correct horse").status, 401, "what was remembered is forgotten");
}

#[test]
fn a_realm_is_told_as_requests_have_it_and_off_asks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    std::fs::write(&users, "bob:{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=\n").unwrap();
    let origin = Origin::saying("ok");
    for reread in [false, true] {
        let auth = format!(
            "auth: {{ basic: {{ users_file: {}, reread: {reread}, realm: '$query_realm' }} }}",
            users.display()
        );
        let proxy = proxy(&origin, &auth, "");
        let refused = ask(&proxy, "/?realm=shop", "");
        assert_eq!(
            (refused.status, refused.header("www-authenticate")),
            (401, Some("Basic realm=\"shop\""))
        );
        assert_eq!(ask(&proxy, "/?realm=off", "").status, 200);
        let right = format!("Authorization: Basic {}\r\n", STANDARD.encode("bob:correct horse"));
        assert_eq!(ask(&proxy, "/?realm=shop", &right).status, 200);
    }
}

fn claims(changes: &str) -> String {
    claims_until(now_s() + 600, changes)
}

fn claims_until(expires_s: u64, changes: &str) -> String {
    format!("{{\"iss\":\"me\",\"aud\":\"tv\",\"exp\":{expires_s}{changes}}}")
}

fn token(head: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn hs256(claims: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    token("{\"alg\":\"HS256\"}", claims, |bytes| hmac::sign(&key, bytes).as_ref().to_vec())
}

fn secret_set(dir: &Path) -> String {
    let file = dir.join("keys.json");
    let key = format!("{{\"kty\":\"oct\",\"k\":\"{}\"}}", URL_SAFE_NO_PAD.encode(SECRET));
    std::fs::write(&file, format!("{{\"keys\":[{key}]}}")).unwrap();
    file.display().to_string()
}

#[test]
fn tokens_are_verified_told_and_limited_by() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::saying("ok");
    let route = format!(
        "auth: {{ jwt: {{ jwks_file: {}, issuer: me, audiences: [ tv ], cookie: pass }} }}, request_headers: {{ set: {{ x-sub: $claim_sub }} }}, rate_limits: [ each ]",
        secret_set(dir.path())
    );
    let limit = "rate_limits: { each: { key: [ { claim: sub } ], rate: 2/h, burst: 1 } }";
    let proxy = proxy(&origin, &route, limit);
    let bearer = |token: &str| ask(&proxy, "/", &format!("Authorization: Bearer {token}\r\n"));
    let ann = hs256(&claims(",\"sub\":\"ann\""));
    let refused = ask(&proxy, "/none", "");
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(bearer(&ann).status, 200);
    assert_eq!(seen(&origin, "x-sub:"), "ann");
    assert_eq!(bearer(&ann).status, 429, "her own limit");
    let bob = hs256(&claims(",\"sub\":\"bob\""));
    assert_eq!(ask(&proxy, "/", &format!("Cookie: a=b; pass={bob}\r\n")).status, 200);
    assert_eq!(seen(&origin, "x-sub:"), "bob");
    let expired = claims_until(1000, ",\"sub\":\"zoe\"");
    for wrong in [hs256(&expired), ann[1..].to_owned(), hs256(&claims("").replace("tv", "film"))] {
        let status = bearer(&wrong).status;
        assert!(matches!(status, 401 | 429), "{wrong}: {status}");
    }
    assert_eq!(origin.requests(), 2);
}

/// A token in a cookie says nothing to a cache: who is let in shares what is kept, but for what the key counts.
#[test]
fn what_is_kept_is_shared_by_all_who_are_let_in_unless_their_claims_count() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start(|exchange| {
        let body = exchange.header("x-tier").unwrap_or("none").to_owned();
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    });
    let auth = format!(
        "auth: {{ jwt: {{ jwks_file: {}, issuer: me, audiences: [ tv ], cookie: pass }} }}, request_headers: {{ set: {{ x-tier: $claim_tier }} }}",
        secret_set(dir.path())
    );
    let caches = "caches: { c: { memory_max: 64MiB } }\n\
                  cache_policies: { all: { cache: c }, by_tier: { cache: c, key: { claims: [ tier ] } } }";
    let pass = |tier: &str, sub: &str| {
        let token = hs256(&claims(&format!(",\"tier\":\"{tier}\",\"sub\":\"{sub}\"")));
        format!("Cookie: pass={token}\r\n")
    };
    for (policy, free, asked) in [("all", "gold", 1), ("by_tier", "free", 2)] {
        let before = origin.requests();
        let proxy = proxy(&origin, &format!("{auth}, cache_policy: {policy}"), caches);
        assert_eq!(ask(&proxy, "/x", &pass("gold", "ann")).text(), "gold");
        assert_eq!(ask(&proxy, "/x", &pass("gold", "bob")).text(), "gold");
        assert_eq!(ask(&proxy, "/x", &pass("free", "cat")).text(), free, "{policy}");
        assert_eq!(ask(&proxy, "/x", "").status, 401, "nobody else is let in");
        assert_eq!(origin.requests() - before, asked, "{policy}");
        // What is answered to `Authorization` is kept for nobody.
        let token = hs256(&claims(",\"tier\":\"gold\""));
        let bearer = format!("Authorization: Bearer {token}\r\n");
        for _ in 0..2 {
            assert_eq!(ask(&proxy, "/y", &bearer).text(), "gold");
        }
        assert_eq!(origin.requests() - before, asked + 2, "{policy}");
    }
}

#[test]
fn keys_are_fetched_once_however_many_tokens_name_others() {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let set = format!(
        "{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"one\",\"x\":\"{x}\"}}]}}"
    );
    let keys = Origin::start(move |exchange| exchange.answer(&set));
    let origin = Origin::saying("ok");
    let route = |url: &str| {
        format!("auth: {{ jwt: {{ jwks_url: '{url}', issuer: me, audiences: [ tv ] }} }}")
    };
    let proxy = proxy(&origin, &route(&format!("http://{}/keys", keys.address)), "");
    let signed = |kid: &str| {
        let head = format!("{{\"alg\":\"EdDSA\",\"kid\":\"{kid}\"}}");
        token(&head, &claims(""), |bytes| pair.sign(bytes).as_ref().to_vec())
    };
    let bearer = |proxy: &Proxy, token: &str| {
        ask(proxy, "/", &format!("Authorization: Bearer {token}\r\n")).status
    };
    assert_eq!(keys.requests(), 0, "nobody has asked");
    for _ in 0..3 {
        assert_eq!(bearer(&proxy, &signed("one")), 200);
    }
    for _ in 0..3 {
        assert_eq!(bearer(&proxy, &signed("two")), 401);
    }
    assert!(proxy.reload(), "the keys are kept");
    assert_eq!(bearer(&proxy, &signed("one")), 200);
    assert_eq!(keys.requests(), 1, "{:?}", keys.heads());
    assert!(keys.heads()[0].starts_with("GET /keys HTTP/1.1\r\n"));
    // All keys were revoked: that is an answer, and no outage to bridge with those of before.
    let none = Origin::saying("{\"keys\":[]}");
    let revoked = self::proxy(&origin, &route(&format!("http://{}/keys", none.address)), "");
    assert_eq!(bearer(&revoked, &signed("one")), 401);
    assert_eq!(revoked.metric("forebay_proxy_key_fetches_total{result=\"ok\"}"), 1.0);
    let without = self::proxy(&origin, &route(&format!("http://{}/keys", dead_address())), "");
    assert_eq!(bearer(&without, &signed("one")), 503);
    assert_eq!(without.metric("forebay_proxy_key_fetches_total{result=\"failed\"}"), 1.0);
}

fn openssl(dir: &Path, arguments: &[&str]) -> Vec<u8> {
    let done = Command::new("openssl").args(arguments).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

#[test]
fn tokens_signed_with_rsa() {
    let dir = tempfile::tempdir().unwrap();
    openssl(dir.path(), &["genrsa", "-out", "key.pem", "2048"]);
    let modulus = openssl(dir.path(), &["rsa", "-in", "key.pem", "-noout", "-modulus"]);
    let modulus = String::from_utf8(modulus).unwrap();
    let hex = modulus.trim().strip_prefix("Modulus=").unwrap().as_bytes();
    let bytes: Vec<u8> = hex
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let n = URL_SAFE_NO_PAD.encode(&bytes);
    let set = format!(
        "{{\"keys\":[{{\"kty\":\"RSA\",\"alg\":\"RS256\",\"n\":\"{n}\",\"e\":\"AQAB\"}}]}}"
    );
    std::fs::write(dir.path().join("keys.json"), set).unwrap();
    let origin = Origin::saying("ok");
    let route = format!(
        "auth: {{ jwt: {{ jwks_file: {}/keys.json, issuer: me, audiences: [ tv ] }} }}",
        dir.path().display()
    );
    let proxy = proxy(&origin, &route, "");
    let sign = |bytes: &[u8]| {
        std::fs::write(dir.path().join("signed"), bytes).unwrap();
        openssl(dir.path(), &["dgst", "-sha256", "-sign", "key.pem", "signed"])
    };
    let good = token("{\"alg\":\"RS256\"}", &claims(""), sign);
    // Taken for a secret, the public key would be one that everybody knows.
    let confused = token("{\"alg\":\"HS256\"}", &claims(""), |signed| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), signed).as_ref().to_vec()
    });
    for (token, status) in [(&good, 200), (&confused, 401)] {
        assert_eq!(ask(&proxy, "/", &format!("Authorization: Bearer {token}\r\n")).status, status);
    }
}

/// Base64 as CloudFront writes it in URLs.
fn in_url(bytes: &[u8]) -> String {
    STANDARD.encode(bytes).replace('+', "-").replace('=', "_").replace('/', "~")
}

#[test]
fn what_signs_for_cloudfront_signs_for_forebay() {
    let dir = tempfile::tempdir().unwrap();
    openssl(dir.path(), &["genrsa", "-out", "key.pem", "2048"]);
    openssl(dir.path(), &["rsa", "-in", "key.pem", "-pubout", "-out", "public.pem"]);
    let origin = Origin::saying("ok");
    let route = format!(
        "auth: {{ signed_url: {{ format: cloudfront, key_files: [ {}/public.pem ] }} }}",
        dir.path().display()
    );
    let proxy = proxy(&origin, &route, "");
    let sign = |policy: &str| {
        std::fs::write(dir.path().join("policy"), policy).unwrap();
        in_url(&openssl(dir.path(), &["dgst", "-sha1", "-sign", "key.pem", "policy"]))
    };
    let canned = |url: &str, expires: u64| {
        sign(&format!(
            "{{\"Statement\":[{{\"Resource\":\"{url}\",\"Condition\":{{\"DateLessThan\":{{\"AWS:EpochTime\":{expires}}}}}}}]}}"
        ))
    };
    let later = now_s() + 600;
    let url = |path: &str, expires: u64, signature: &str| {
        format!("{path}Expires={expires}&Signature={signature}&Key-Pair-Id=K1")
    };
    let good = canned("https://a.example/film.mp4?size=hd", later);
    assert_eq!(ask(&proxy, &url("/film.mp4?size=hd&", later, &good), "").status, 200);
    for wrong in [
        url("/film.mp4?size=4k&", later, &good),
        url("/other.mp4?size=hd&", later, &good),
        url("/film.mp4?size=hd&", later + 1, &good),
        url("/film.mp4?size=hd&", 1000, &canned("https://a.example/film.mp4?size=hd", 1000)),
        "/film.mp4?size=hd".to_owned(),
    ] {
        assert_eq!(ask(&proxy, &wrong, "").status, 403, "{wrong}");
    }
    let policy = format!(
        "{{\"Statement\":[{{\"Resource\":\"http*://a.example/live/*\",\"Condition\":{{\"DateLessThan\":{{\"AWS:EpochTime\":{later}}}}}}}]}}"
    );
    let cookies = format!(
        "Cookie: CloudFront-Policy={}; CloudFront-Signature={}; CloudFront-Key-Pair-Id=K1\r\n",
        in_url(policy.as_bytes()),
        sign(&policy)
    );
    assert_eq!(ask(&proxy, "/live/1.m4s", &cookies).status, 200);
    assert_eq!(ask(&proxy, "/vod/1.m4s", &cookies).status, 403);
    assert_eq!(origin.requests(), 2);
}

#[test]
fn an_address_or_a_proof_is_enough_where_the_route_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::saying("ok");
    let jwt = format!(
        "auth: {{ jwt: {{ jwks_file: {}, issuer: me, audiences: [ tv ] }} }}",
        secret_set(dir.path())
    );
    let inside =
        proxy(&origin, &format!("{jwt}, access: {{ allow: [ 127.0.0.0/8 ], satisfy: any }}"), "");
    assert_eq!(ask(&inside, "/", "").status, 200);
    let outside =
        proxy(&origin, &format!("{jwt}, access: {{ allow: [ 10.0.0.0/8 ], satisfy: any }}"), "");
    assert_eq!(ask(&outside, "/", "").status, 401);
    let bearer = format!("Authorization: Bearer {}\r\n", hs256(&claims("")));
    assert_eq!(ask(&outside, "/", &bearer).status, 200);
    let both = proxy(&origin, &format!("{jwt}, access: {{ allow: [ 10.0.0.0/8 ] }}"), "");
    assert_eq!(ask(&both, "/", &bearer).status, 403);
}

#[test]
fn who_proves_to_be_the_same_goes_the_same_way() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Origin::saying("old"), Origin::saying("new"));
    let proxy = Proxy::start(&format!(
        "upstreams: {{ old: {}, new: {} }}\nroutes: [ {{ name: all, \
         split: {{ parts: [ {{ upstream: old, share: 50% }}, {{ upstream: new, share: 50% }} ], sticky_by: [ {{ claim: sub }} ] }}, \
         auth: {{ jwt: {{ jwks_file: {}, issuer: me, audiences: [ tv ] }} }} }} ]",
        upstream(&[old.address]),
        upstream(&[new.address]),
        secret_set(dir.path()),
    ));
    let sent = |user: usize| {
        let token = hs256(&claims(&format!(",\"sub\":\"user-{user}\"")));
        ask(&proxy, "/", &format!("Authorization: Bearer {token}\r\n")).text()
    };
    let first: Vec<String> = (0..30).map(sent).collect();
    let again: Vec<String> = (0..30).map(sent).collect();
    assert_eq!(first, again);
    assert!(first.contains(&"old".to_owned()) && first.contains(&"new".to_owned()), "{first:?}");
}
