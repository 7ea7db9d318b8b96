//! The live origin: what it serves, how it labels it, and what it does not serve.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a failed test")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use forebay_stack::{origin, page};

/// An origin on a free port over a folder with one stream; it stops with the runtime of the test.
async fn started() -> (SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("live");
    fs::create_dir_all(live.join("clock")).unwrap();
    fs::write(folder.path().join("secret.mp4"), "secret").unwrap();
    for (name, text) in [
        ("index.m3u8", "#EXTM3U\n"),
        ("index.m3u8.tmp", "half"),
        ("init.mp4", "init"),
        ("segment-1.m4s", "0123456789"),
    ] {
        fs::write(live.join("clock").join(name), text).unwrap();
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = origin::router(&live);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, folder)
}

/// A request as written, byte for byte: a client library would clean the path up first.
async fn ask(address: SocketAddr, path: &str, extra: &str) -> (u16, String, String) {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n{extra}\r\n");
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
    .await
    .unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn media_has_its_types_and_its_caching() {
    let (address, _folder) = started().await;
    let expected = [
        ("index.m3u8", "application/vnd.apple.mpegurl", "no-cache"),
        ("init.mp4", "video/mp4", "no-cache"),
        ("segment-1.m4s", "video/iso.segment", "public, max-age=3600, immutable"),
    ];
    for (name, content_type, caching) in expected {
        let (status, head, _) = ask(address, &format!("/live/clock/{name}"), "").await;
        assert_eq!(status, 200, "{name}");
        assert!(head.contains(&format!("content-type: {content_type}\r\n")), "{head}");
        assert!(head.contains(&format!("cache-control: {caching}\r\n")), "{head}");
        assert!(head.contains("last-modified: "), "{head}");
    }
}

#[tokio::test]
async fn ranges_are_answered() {
    let (address, _folder) = started().await;
    let (status, head, body) =
        ask(address, "/live/clock/segment-1.m4s", "Range: bytes=2-5\r\n").await;
    assert_eq!((status, body.as_str()), (206, "2345"));
    assert!(head.contains("content-range: bytes 2-5/10"), "{head}");
}

#[tokio::test]
async fn what_is_not_there_is_404_and_not_to_be_kept() {
    let (address, _folder) = started().await;
    let (status, head, _) = ask(address, "/live/clock/segment-2.m4s", "").await;
    assert_eq!(status, 404);
    assert!(head.contains("cache-control: no-store"), "{head}");
    for path in ["/nothing", "/page/none.js", "/live", "/live/", "/live/clock", "/live/clock/"] {
        assert_eq!(ask(address, path, "").await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn nothing_outside_the_folder_and_nothing_unfinished_is_served() {
    let (address, _folder) = started().await;
    for path in [
        "/live/../secret.mp4",
        "/live/clock/../../secret.mp4",
        "/live/%2e%2e/secret.mp4",
        "/live/..%2fsecret.mp4",
        "/live/clock/%2e%2e%2f%2e%2e%2fsecret.mp4",
        "/live//etc/passwd.mp4",
        "/live/clock/index.m3u8.tmp",
    ] {
        let (status, _, body) = ask(address, path, "").await;
        assert!((400..500).contains(&status), "{path}: {status}");
        assert!(!body.contains("secret") && !body.contains("half"), "{path}: {body}");
    }
}

#[tokio::test]
async fn the_page_comes_with_a_strict_policy() {
    let (address, _folder) = started().await;
    let (status, head, body) = ask(address, "/", "").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/html; charset=utf-8"), "{head}");
    assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
    assert!(!head.contains("unsafe"), "{head}");
    // What the policy forbids would only fail in a browser.
    for forbidden in ["<style", " style=", "onclick", "<script>"] {
        assert!(!body.contains(forbidden), "{forbidden}");
    }
    for asset in body.split(['"']).filter(|part| part.starts_with("/page/")) {
        if asset != "/page/hls.LICENSE" || page::has_player() {
            assert_eq!(ask(address, asset, "").await.0, 200, "{asset}");
        }
    }
}

#[tokio::test]
async fn streams_are_listed_and_health_is_told() {
    let (address, _folder) = started().await;
    let (_, _, body) = ask(address, "/streams.json", "").await;
    assert_eq!(body, r#"{"streams":[{"name":"clock","playlist":"/live/clock/index.m3u8"}]}"#);
    assert_eq!(ask(address, "/healthz", "").await.2, "ok\n");
}
