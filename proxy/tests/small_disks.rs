//! Disks that are really full: a file system of 2 MB in memory that the proxy alone sees. Where none may be
//! mounted, the kernel refuses files beyond 1 MB instead.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::caching::{ask, with_cache};
use crate::harness::{BINARY, Proxy, eventually, upstream};
use crate::origin::Origin;

/// The proxy's program, on a folder that has room for next to nothing.
fn on_small_disk(folder: &Path) -> Command {
    let root = rustix::process::geteuid().is_root();
    let apart = if root { "--mount" } else { "--map-root-user" };
    let mut mounts = Command::new("unshare");
    mounts
        .args([apart, "--mount", "sh", "-c", "mount -t tmpfs -o size=2m none \"$0\""])
        .arg(folder);
    let silent = mounts.stdout(Stdio::null()).stderr(Stdio::null());
    let may_mount = silent.status().is_ok_and(|status| status.success());
    let (mut command, script) = if may_mount {
        let mut command = Command::new("unshare");
        command.args([apart, "--mount", "sh", "-c"]);
        (command, "mount -t tmpfs -o size=2m none \"$0\" && exec \"$@\"")
    } else {
        let mut command = Command::new("sh");
        command.arg("-c");
        (command, "trap '' XFSZ; ulimit -f 2048; exec \"$@\"")
    };
    command.arg(script).arg(folder).arg(BINARY);
    command
}

fn sends(bytes: Vec<u8>) -> Origin {
    Origin::start(move |exchange| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n";
        exchange.write(format!("{head}Content-Length: {}\r\n\r\n", bytes.len()))
            && exchange.write(&bytes)
    })
}

fn pattern(length: u32) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_be_bytes()[3]).collect()
}

#[test]
fn a_cache_whose_disk_is_full_answers_as_before() {
    let bytes = pattern(1_500_000);
    let origin = sends(bytes.clone());
    let folder = tempfile::tempdir().unwrap();
    let cache = format!(
        "memory_max: 32MiB, disk: {{ path: '{}', bytes_max: 1GiB }}",
        folder.path().join("cache").display()
    );
    let proxy = Proxy::started_by(on_small_disk(folder.path()), &with_cache(&origin, "", &cache));
    for number in 0..8 {
        let answer = ask(&proxy, &format!("/{number}"), "");
        assert!(answer.status == 200 && answer.body == bytes, "/{number}");
    }
    let result = |result| {
        let name = "forebay_proxy_cache_disk_writes_total";
        proxy.metric(&format!("{name}{{cache=\"main\",result=\"{result}\"}}"))
    };
    eventually("a write that fails", || (result("failed") > 0.0).then_some(()));
    for number in 0..8 {
        assert!(ask(&proxy, &format!("/{number}"), "").body == bytes, "/{number} again");
    }
}

#[test]
fn bodies_that_find_the_disk_full_wait_and_lose_no_byte() {
    let bytes = pattern(20_000_000);
    let origin = sends(bytes.clone());
    let folder = tempfile::tempdir().unwrap();
    let sections = format!(
        "upstreams: {{ u: {} }}\nroutes: [ {{ name: all, upstream: u, lane: bulk, buffer_policy: p }} ]\n\
         buffer_policies: {{ p: {{ responses: {{ mode: spill, memory_max: 128KiB }} }} }}\n\
         lanes: {{ bulk: {{ spill: {{ path: {}, bytes_max: 1GiB }} }} }}",
        upstream(&[origin.address]),
        folder.path().join("spill").display()
    );
    let proxy = Proxy::started_by(on_small_disk(folder.path()), &sections);
    let mut slow = proxy.client();
    slow.send("GET /film HTTP/1.1\r\nHost: a\r\n\r\n");
    let refused = "forebay_proxy_lane_spill_failures_total{lane=\"bulk\",what=\"write\"}";
    eventually("a disk that is full", || (proxy.metric(refused) > 0.0).then_some(()));
    assert!(slow.response(false).unwrap().body == bytes);
}
