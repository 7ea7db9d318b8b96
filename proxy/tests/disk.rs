//! The cache's second tier on real files: restarts, kills at any point, bit rot, disks that fail.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::json;

use crate::caching::{ask, counting, with_cache};
use crate::client::{Client, Response};
use crate::harness::{BINARY, Proxy, eventually};
use crate::origin::Origin;

fn on_disk(origin: &Origin, folder: &Path, bytes_max: &str, more: &str) -> String {
    let cache = format!(
        "memory_max: 32MiB, disk: {{ path: '{}', bytes_max: {bytes_max} }}{more}",
        folder.display()
    );
    with_cache(origin, "", &cache)
}

fn disk(proxy: &Proxy, name: &str) -> f64 {
    let series = if name.contains('=') {
        let (name, result) = name.split_once('=').unwrap();
        format!("{name}{{cache=\"main\",result=\"{result}\"}}")
    } else {
        format!("{name}{{cache=\"main\"}}")
    };
    proxy.metric(&format!("forebay_proxy_cache_disk_{series}"))
}

fn wait_until_written(proxy: &Proxy, count: f64) {
    eventually("records on disk", || (disk(proxy, "objects") >= count).then_some(()));
}

/// The body of a path, as every origin here serves it: up to 300 KB, and another for each path.
fn body_of(path: &str) -> Vec<u8> {
    let seed = path.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    (0..seed % 300_000).map(|at| u8::try_from((at ^ seed) % 251).unwrap()).collect()
}

fn serving(fields: &'static str) -> Origin {
    Origin::start(move |exchange| {
        let body = body_of(exchange.target());
        let length = body.len();
        exchange.write(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n"))
            && exchange.write(body)
    })
}

fn records(folder: &Path) -> Vec<PathBuf> {
    let shards = fs::read_dir(folder.join("records")).unwrap().map(|entry| entry.unwrap().path());
    shards.flat_map(|shard| fs::read_dir(shard).unwrap().map(|e| e.unwrap().path())).collect()
}

#[test]
fn what_was_stored_is_there_after_a_restart_and_what_was_purged_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "an-operators-token").unwrap();
    let cache = folder.path().join("cache");
    let origin = serving(
        "Cache-Control: max-age=600\r\nVary: X-Tier\r\nSurrogate-Key: t\r\nETag: \"a\"\r\n",
    );
    let sections = on_disk(&origin, &cache, "1GiB", "");
    let tokens = format!("tokens: [ {{ name: o, file: '{}', role: operator }} ]", token.display());
    let purge = |proxy: &Proxy, order: &serde_json::Value| {
        let body = order.to_string();
        let length = body.len();
        let response = Client::to(proxy.admin).ask(&format!(
            "POST /purge HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer an-operators-token\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(response.status, 200, "{response:?}");
        response.json()["purged"].clone()
    };
    let proxy = Proxy::with_admin(&tokens, &sections);
    for path in ["/a", "/b", "/c", "/d"] {
        assert_eq!(ask(&proxy, path, "").body, body_of(path));
    }
    assert_eq!(ask(&proxy, "/a", "X-Tier: gold\r\n").body, body_of("/a"));
    wait_until_written(&proxy, 5.0);
    assert_eq!(purge(&proxy, &json!({ "urls": ["http://a.example/b"] })), 1);
    assert_eq!(purge(&proxy, &json!({ "urls": ["http://a.example/c"], "soft": true })), 1);
    // Killed right after the answer: what was purged must not come back.
    proxy.signal(Signal::KILL);
    drop(proxy);

    let proxy = Proxy::with_admin(&tokens, &sections);
    wait_until_written(&proxy, 4.0);
    let before = origin.requests();
    let hit = ask(&proxy, "/a", "Range: bytes=1-3\r\nX-Tier: gold\r\n");
    assert_eq!((hit.status, &hit.body[..]), (206, &body_of("/a")[1..4]));
    assert_eq!(ask(&proxy, "/d", "Cache-Control: only-if-cached\r\n").body, body_of("/d"));
    assert_eq!(ask(&proxy, "/d", "If-None-Match: \"a\"\r\n").status, 304);
    assert_eq!(origin.requests(), before, "all from disk, then from memory");
    assert_eq!(disk(&proxy, "reads_total=loaded"), 2.0);
    assert_eq!(ask(&proxy, "/b", "").body, body_of("/b"));
    assert_eq!(origin.requests(), before + 1, "purged");
    assert_eq!(ask(&proxy, "/c", "").body, body_of("/c"));
    assert_eq!(origin.requests(), before + 2, "stale, so the origin was asked");
    // By tag: what is in memory, and the variant that is on disk only. A client can have all of an
    // answer before it is stored.
    wait_until_written(&proxy, 5.0);
    assert_eq!(purge(&proxy, &json!({ "tags": ["t"] })), 5);
    eventually("no record", || records(&cache).is_empty().then_some(()));
}

#[test]
fn killed_at_any_point_it_serves_only_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let origin = serving("Cache-Control: max-age=600\r\n");
    let sections = on_disk(&origin, &folder.path().join("cache"), "16MiB", "");
    let paths: Vec<String> = (0..120).map(|n| format!("/segment-{n}.ts")).collect();
    for round in 0..10 {
        let proxy = Proxy::start(&sections);
        let (done, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for part in 0..3 {
                let (proxy, paths, done, answers) = (&proxy, &paths, &done, &answers);
                scope.spawn(move || {
                    for path in paths.iter().cycle().skip(part * 40) {
                        if done.load(Ordering::SeqCst) {
                            return;
                        }
                        let Some(response) = try_ask(proxy, path) else { return };
                        if response.whole {
                            assert_eq!(response.status, 200);
                            assert!(response.body == body_of(path), "{path} has other bytes");
                        }
                        answers.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            eventually("answers", || {
                (answers.load(Ordering::SeqCst) >= 3 + round * 13).then_some(())
            });
            proxy.signal(Signal::KILL);
            done.store(true, Ordering::SeqCst);
        });
    }
    let proxy = Proxy::start(&sections);
    eventually("some records", || (disk(&proxy, "objects") > 10.0).then_some(()));
    for path in &paths {
        assert!(ask(&proxy, path, "").body == body_of(path), "{path}");
    }
    assert!(disk(&proxy, "reads_total=loaded") > 0.0);
    assert_eq!(disk(&proxy, "reads_total=corrupt"), 0.0);
    assert!(disk(&proxy, "bytes") <= 16.0 * 1024.0 * 1024.0);
}

/// `None` when the proxy is gone.
fn try_ask(proxy: &Proxy, path: &str) -> Option<Response> {
    let mut client = Client::try_to(proxy.public)?;
    client.try_send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n"))?;
    client.response(false)
}

#[test]
fn what_rots_on_disk_is_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let origin = serving("Cache-Control: max-age=600\r\n");
    let sections = on_disk(&origin, &cache, "1GiB", "");
    let paths = ["/a", "/b", "/c", "/d", "/e"];
    let proxy = Proxy::start(&sections);
    paths.iter().for_each(|path| assert_eq!(ask(&proxy, path, "").body, body_of(path)));
    wait_until_written(&proxy, 5.0);
    drop(proxy);
    for (at, path) in records(&cache).iter().enumerate() {
        let mut bytes = fs::read(path).unwrap();
        let last = bytes.len() - 1;
        match at {
            0 => bytes[last] ^= 1,
            1 => bytes.truncate(last),
            2 => bytes[50] ^= 1,
            3 => bytes.clear(),
            _ => {}
        }
        fs::write(path, bytes).unwrap();
    }
    let proxy = Proxy::start(&sections);
    // One is found out when it is read, three at the start.
    wait_until_written(&proxy, 2.0);
    let before = origin.requests();
    paths.iter().for_each(|path| assert_eq!(ask(&proxy, path, "").body, body_of(path)));
    assert_eq!(origin.requests(), before + 4);
    assert_eq!(
        (disk(&proxy, "reads_total=corrupt"), disk(&proxy, "reads_total=loaded")),
        (1.0, 1.0)
    );
    wait_until_written(&proxy, 5.0);
}

/// A file in place of the directory keeps it from being made again for as long as the test wants.
#[test]
fn a_directory_that_is_removed_is_a_miss_and_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let origin = serving("Cache-Control: max-age=600\r\n");
    let sections = on_disk(&origin, &cache, "1GiB", "");
    let proxy = Proxy::start(&sections);
    let ready = |proxy: &Proxy| disk(proxy, "ready");
    assert_eq!(ask(&proxy, "/a", "").body, body_of("/a"));
    wait_until_written(&proxy, 1.0);
    fs::remove_dir_all(&cache).unwrap();
    fs::write(&cache, "in the way").unwrap();
    eventually("it is seen to be gone", || (ready(&proxy) == 0.0).then_some(()));
    for path in ["/a", "/b", "/a", "/b"] {
        assert_eq!(ask(&proxy, path, "").body, body_of(path));
    }
    assert_eq!((origin.requests(), disk(&proxy, "objects")), (2, 0.0), "memory goes on");
    proxy.says("the directory of the cache on disk is gone");
    fs::remove_file(&cache).unwrap();
    eventually("a new one", || (ready(&proxy) == 1.0).then_some(()));
    assert_eq!(ask(&proxy, "/c", "").body, body_of("/c"));
    wait_until_written(&proxy, 2.0);
    assert_eq!(records(&cache).len(), 2, "what waited, and what came since");
    let second = Proxy::start(&sections);
    second.says("another process uses it");
    assert_eq!((ready(&second), ready(&proxy)), (0.0, 1.0));
    // Without what is being written, too, it is none.
    fs::remove_dir_all(cache.join("new")).unwrap();
    eventually("it is whole again", || cache.join("new").exists().then_some(()));
    eventually("it is ready", || (ready(&proxy) == 1.0).then_some(()));
    assert_eq!(ask(&proxy, "/d", "").body, body_of("/d"));
    wait_until_written(&proxy, 3.0);
}

/// A file system that was unmounted, say.
#[test]
fn a_directory_that_comes_back_has_what_is_still_good_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, aside) = (folder.path().join("cache"), folder.path().join("aside"));
    let origin = serving("Cache-Control: max-age=600\r\n");
    let proxy = Proxy::start(&on_disk(&origin, &cache, "1GiB", ""));
    for path in ["/a", "/b", "/c"] {
        assert_eq!(ask(&proxy, path, "").body, body_of(path));
    }
    wait_until_written(&proxy, 3.0);
    let before = records(&cache);
    fs::rename(&cache, &aside).unwrap();
    fs::write(&cache, "in the way").unwrap();
    eventually("it is seen to be gone", || (disk(&proxy, "ready") == 0.0).then_some(()));
    let post = "POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(proxy.client().ask(post).status, 200, "it forgets what is stored");
    fs::remove_file(&cache).unwrap();
    fs::rename(&aside, &cache).unwrap();
    wait_until_written(&proxy, 2.0);
    eventually("the forgotten one is removed", || (records(&cache).len() == 2).then_some(()));
    assert!(records(&cache).iter().all(|record| before.contains(record)), "the others are kept");
    assert_eq!((disk(&proxy, "ready"), disk(&proxy, "objects")), (1.0, 2.0));
}

#[test]
fn a_record_that_cannot_be_read_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let origin = serving("Cache-Control: max-age=600\r\n");
    let sections = on_disk(&origin, &cache, "1GiB", "");
    let proxy = Proxy::start(&sections);
    let paths: Vec<String> = (0..8).map(|n| format!("/{n}")).collect();
    for path in &paths {
        assert_eq!(ask(&proxy, path, "").body, body_of(path));
    }
    wait_until_written(&proxy, 8.0);
    drop(proxy);
    // In the folder that is read first; reading it fails, and so would removing it.
    fs::create_dir(cache.join("records/00/00000000000000ff")).unwrap();
    let proxy = Proxy::start(&sections);
    wait_until_written(&proxy, 8.0);
    for path in &paths {
        assert_eq!(ask(&proxy, path, "").body, body_of(path));
    }
    assert_eq!(origin.requests(), 8, "all from disk");
    assert_eq!(disk(&proxy, "reads_total=failed"), 1.0);
    proxy.says("00000000000000ff");
}

#[test]
fn bounded_in_bytes_and_the_least_recently_used_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let origin = Origin::start(|exchange| {
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 99000\r\n\r\n{}",
            "x".repeat(99_000)
        ))
    });
    let proxy = Proxy::start(&on_disk(&origin, &cache, "1MiB", ""));
    for n in 0..30 {
        ask(&proxy, &format!("/{n}"), "");
    }
    // The last of them may still be being written.
    let evictions = "evictions_total";
    let settled = || disk(&proxy, evictions) >= 20.0 && disk(&proxy, "objects") == 10.0;
    eventually("evictions", || settled().then_some(()));
    assert_eq!(disk(&proxy, "bytes_max"), 1_048_576.0);
    let bytes: u64 = records(&cache).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= 1 << 20 && disk(&proxy, "bytes") <= 1_048_576.0, "{bytes}");
    // A smaller bound and a later one are taken over by a reload.
    proxy.rewrite(&on_disk(&origin, &cache, "250KiB", ""));
    assert!(proxy.reload());
    eventually("fewer files", || (records(&cache).len() == 2).then_some(()));
    proxy.rewrite(&with_cache(&origin, "", "memory_max: 32MiB"));
    assert!(proxy.reload());
    assert_eq!((disk(&proxy, "ready"), disk(&proxy, "objects")), (0.0, 0.0));
}

#[test]
fn another_versions_cache_is_removed_and_what_is_no_cache_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (other, foreign) = (folder.path().join("other"), folder.path().join("foreign"));
    fs::create_dir_all(other.join("records/00")).unwrap();
    fs::write(other.join("FORMAT"), "forebay cache 99\n").unwrap();
    fs::write(other.join("records/00/0000000000000100"), "something else").unwrap();
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "precious").unwrap();
    let origin = counting("Cache-Control: max-age=600\r\n");
    let proxy = Proxy::start(&on_disk(&origin, &other, "1GiB", ""));
    assert_eq!(ask(&proxy, "/", "").text(), "1");
    wait_until_written(&proxy, 1.0);
    proxy.says("another version");
    assert_eq!(fs::read_to_string(other.join("FORMAT")).unwrap(), "forebay cache 1\n");
    proxy.rewrite(&on_disk(&origin, &foreign, "1GiB", ""));
    assert!(!proxy.reload());
    proxy.says("is not a directory of a cache");
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
    // A second proxy on the same directory serves without it until it is free.
    let second = Proxy::start(&on_disk(&origin, &other, "1GiB", ""));
    assert_eq!((ask(&second, "/", "").text().as_str(), disk(&second, "ready")), ("2", 0.0));
    drop(proxy);
    eventually("the directory", || (disk(&second, "ready") == 1.0).then_some(()));
}

#[test]
fn no_cache_shares_a_file_system_with_what_is_protected() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, ledger) = (folder.path().join("cache"), folder.path().join("ledger/not-there-yet"));
    let document = |protected: &Path| {
        format!(
            "version: 1\nlisteners: {{ p: {{ address: '127.0.0.1:0' }} }}\n\
             admin: {{ address: '127.0.0.1:0' }}\nprotected_paths: [ {} ]\n\
             upstreams: {{ u: {{ servers: [ {{ address: '127.0.0.1:1' }} ] }} }}\n\
             routes: [ {{ name: all, upstream: u, cache_policy: p }} ]\n\
             cache_policies: {{ p: {{ cache: main }} }}\n\
             caches: {{ main: {{ memory_max: 32MiB, disk: {{ path: {}, bytes_max: 1GiB }} }} }}\n",
            protected.display(),
            cache.display()
        )
    };
    fs::write(folder.path().join("proxy.yaml"), document(&ledger)).unwrap();
    let output = Command::new(BINARY)
        .args(["run", "proxy.yaml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    for named in [&cache, &ledger] {
        assert!(said.contains(&named.display().to_string()), "{said}");
    }
    assert!(!cache.exists(), "nothing was written");
}

/// One that was on a file system of its own, until that was gone.
#[test]
fn a_directory_that_is_made_again_is_held_against_what_is_protected() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    assert_ne!(device(folder.path()), device(other.path()), "temporary folders are not in memory");
    let cache = folder.path().join("cache");
    std::os::unix::fs::symlink(other.path(), &cache).unwrap();
    let protected = format!("\nprotected_paths: [ '{}' ]", folder.path().display());
    let origin = counting("Cache-Control: max-age=600\r\n");
    let proxy = Proxy::start(&(on_disk(&origin, &cache, "16MiB", "") + &protected));
    eventually("the disk", || (disk(&proxy, "ready") == 1.0).then_some(()));
    fs::remove_file(&cache).unwrap();
    proxy.says("on the file system of the protected path");
    assert_eq!((disk(&proxy, "ready"), ask(&proxy, "/", "").text()), (0.0, "1".to_owned()));
    assert!(!cache.exists(), "nothing was written");
}

/// A series that stays at 0 would tell of a disk that is not ready.
#[test]
fn a_cache_that_is_gone_or_has_no_disk_is_not_said_to_be_late() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::saying("ok");
    let cache = folder.path().join("cache");
    let sections = on_disk(&origin, &cache, "16MiB", "");
    let proxy = Proxy::start(&sections);
    eventually("the disk", || (disk(&proxy, "ready") == 1.0).then_some(()));
    proxy.rewrite(&crate::harness::to(&[origin.address]));
    assert!(proxy.reload());
    assert!(!proxy.metrics().contains("forebay_proxy_cache_disk_ready{"));
    proxy.rewrite(&sections);
    assert!(proxy.reload());
    eventually("the disk again", || (disk(&proxy, "ready") == 1.0).then_some(()));
}
