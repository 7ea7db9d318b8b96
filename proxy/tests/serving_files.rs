//! Files of a directory, over the wire.

use std::fs;

use crate::client::Response;
use crate::harness::Proxy;

fn start(settings: &str) -> (Proxy, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("sub")).unwrap();
    fs::write(root.path().join("index.html"), "<p>home").unwrap();
    fs::write(root.path().join("sub/index.html"), "<p>sub").unwrap();
    fs::write(root.path().join("a.js"), "0123456789").unwrap();
    fs::write(root.path().join("a.js.gz"), "zipped").unwrap();
    fs::write(root.path().join("big.bin"), vec![7; 300_000]).unwrap();
    fs::write(root.path().join(".env"), "secret").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.path().join("passwd")).unwrap();
    let root_path = root.path().display();
    let proxy = Proxy::start(&format!(
        "routes: [ {{ name: site, files: {{ root: {root_path}{settings} }}, response_headers: {{ set: {{ x-served: here }} }} }} ]"
    ));
    (proxy, root)
}

#[test]
fn a_root_that_requests_have_a_say_in_leads_nowhere_above() {
    let sites = tempfile::tempdir().unwrap();
    fs::create_dir_all(sites.path().join("www/a.example")).unwrap();
    fs::write(sites.path().join("www/a.example/f"), "site").unwrap();
    fs::write(sites.path().join("www/f"), "all sites").unwrap();
    fs::write(sites.path().join("f"), "secret").unwrap();
    let www = sites.path().join("www").display().to_string();
    let proxy = Proxy::start(&format!(
        "routes: [ {{ name: asked, match: {{ paths: [ {{ prefix: /q/ }} ] }}, files: {{ root: '{www}/$query_dir', strip_prefix: /q/ }} }},
  {{ name: sites, files: {{ root: '{www}/$host' }} }} ]"
    ));
    assert_eq!(proxy.get("/f").text(), "site");
    for host in ["...", "..", ".", "..:80", "a.example.."] {
        let head = format!("GET /f HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(proxy.client().ask(&head).status, 400, "{host}");
    }
    assert_eq!(proxy.get("/q/f?dir=a.example").text(), "site");
    for dir in ["..", "../www", "a.example/../..", "../../../../../../etc"] {
        assert_eq!(proxy.get(&format!("/q/f?dir={dir}")).status, 404, "{dir}");
    }
}

fn ask(proxy: &Proxy, line: &str, fields: &str) -> Response {
    proxy.client().ask(&format!("{line} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"))
}

#[test]
fn files_are_served_with_their_type_and_nothing_outside_the_root() {
    let (proxy, _root) = start("");
    let home = proxy.get("/");
    assert_eq!((home.status, home.text().as_str()), (200, "<p>home"));
    assert_eq!(home.header("content-type"), Some("text/html"));
    assert_eq!(home.header("x-served"), Some("here"));
    let big = proxy.get("/big.bin");
    assert!(big.whole && big.body == vec![7; 300_000]);
    let head = ask(&proxy, "HEAD /big.bin", "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("300000")));
    let moved = proxy.get("/sub?x=1");
    assert_eq!((moved.status, moved.header("location")), (301, Some("/sub/?x=1")));
    assert_eq!(proxy.get("/sub/").text(), "<p>sub");
    for missing in ["/none", "/passwd", "/.env", "/%2eenv", "/a.js/", "/sub/../../etc/passwd"] {
        let status = proxy.get(missing).status;
        assert!(matches!(status, 400 | 404), "{missing}: {status}");
    }
    let refused = ask(&proxy, "POST /a.js", "Content-Length: 0\r\n");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    let logged = proxy.log_of("/none");
    assert_eq!(
        (logged["error"].as_str(), logged["route"].as_str()),
        (Some("no_file"), Some("site"))
    );
}

#[test]
fn a_client_that_has_it_gets_no_body_and_one_that_wants_a_part_gets_it() {
    let (proxy, root) = start("");
    let whole = proxy.get("/a.js");
    let tag = whole.header("etag").unwrap().to_owned();
    let date = whole.header("last-modified").unwrap().to_owned();
    for (fields, status, body) in [
        (format!("If-None-Match: {tag}\r\n"), 304, ""),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200, "0123456789"),
        (format!("If-Modified-Since: {date}\r\n"), 304, ""),
        ("Range: bytes=2-4\r\n".to_owned(), 206, "234"),
        ("Range: bytes=-2\r\n".to_owned(), 206, "89"),
        (format!("Range: bytes=2-4\r\nIf-Range: {tag}\r\n"), 206, "234"),
        ("Range: bytes=2-4\r\nIf-Range: \"x\"\r\n".to_owned(), 200, "0123456789"),
        ("Range: bytes=10-\r\n".to_owned(), 416, ""),
        ("If-Match: \"x\"\r\n".to_owned(), 412, ""),
        (format!("If-Match: {tag}\r\n"), 200, "0123456789"),
    ] {
        let response = ask(&proxy, "GET /a.js", &fields);
        assert_eq!((response.status, response.text().as_str()), (status, body), "{fields}");
    }
    let part = ask(&proxy, "GET /a.js", "Range: bytes=2-4\r\n");
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    fs::write(root.path().join("a.js"), "changed").unwrap();
    assert_eq!(ask(&proxy, "GET /a.js", &format!("If-None-Match: {tag}\r\n")).status, 200);
}

#[test]
fn compressed_neighbours_are_served_to_clients_that_take_them() {
    let (proxy, root) = start(", precompressed: true");
    let plain = proxy.get("/a.js");
    let zipped = ask(&proxy, "GET /a.js", "Accept-Encoding: br;q=0, gzip\r\n");
    assert_eq!((plain.text().as_str(), zipped.text().as_str()), ("0123456789", "zipped"));
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert_eq!(zipped.header("content-type"), Some("text/javascript"));
    assert_ne!(plain.header("etag"), zipped.header("etag"));
    for response in [&plain, &zipped] {
        assert_eq!(response.header("vary"), Some("Accept-Encoding"));
    }
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(root.path().join("a.js"), "newer").unwrap();
    let stale = ask(&proxy, "GET /a.js", "Accept-Encoding: gzip\r\n");
    assert_eq!((stale.text().as_str(), stale.header("content-encoding")), ("newer", None));
}

#[test]
fn a_film_in_flv_begins_where_it_is_asked_for() {
    let (proxy, root) = start(", flv: true");
    fs::write(root.path().join("film.flv"), "0123456789").unwrap();
    let begun = proxy.get("/film.flv?start=4");
    assert_eq!((begun.status, begun.header("content-length")), (200, Some("19")));
    assert_eq!(begun.body, b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00456789");
    assert_eq!(proxy.get("/film.flv?start=10").text(), "0123456789");
    for (range, place, body) in [
        ("0-2", "bytes 0-2/19", &b"FLV"[..]),
        ("11-14", "bytes 11-14/19", b"\x00\x0045"),
        ("-3", "bytes 16-18/19", b"789"),
    ] {
        let part = ask(&proxy, "GET /film.flv?start=4", &format!("Range: bytes={range}\r\n"));
        assert_eq!((part.status, part.header("content-range")), (206, Some(place)), "{range}");
        assert_eq!(part.body, body, "{range}");
    }
    let head = proxy.client().ask("HEAD /film.flv?start=4 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status, head.header("content-length")), (200, Some("19")));
}

#[test]
fn tags_and_dates_are_judged_as_they_are_told() {
    let (later, earlier) = ("Fri, 01 Jan 2100 00:00:00 GMT", "Sat, 01 Jan 2000 00:00:00 GMT");
    for (how, of_the_date, of_a_later) in [
        ("", 304, 304),
        (", if_modified_since: before", 304, 304),
        (", if_modified_since: exact", 304, 200),
        (", if_modified_since: off", 200, 200),
    ] {
        let (proxy, root) = start(&format!(", etag: false{how}"));
        fs::write(root.path().join("a.txt"), "a").unwrap();
        let plain = proxy.get("/a.txt");
        assert!(plain.header("etag").is_none(), "{plain:?}");
        let own = plain.header("last-modified").unwrap().to_owned();
        for (date, expected) in [(own.as_str(), of_the_date), (later, of_a_later), (earlier, 200)] {
            let asked = ask(&proxy, "GET /a.txt", &format!("If-Modified-Since: {date}\r\n"));
            assert_eq!(asked.status, expected, "{how} {date}");
        }
    }
    // A tag counts whatever is said of dates.
    let (proxy, root) = start(", if_modified_since: off");
    fs::write(root.path().join("a.txt"), "a").unwrap();
    let tag = proxy.get("/a.txt").header("etag").unwrap().to_owned();
    let asked = ask(&proxy, "GET /a.txt", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(asked.status, 304);
}

/// Seconds of each stream, as ffprobe sees them.
fn durations(film: &std::path::Path) -> Vec<f64> {
    let mut command = std::process::Command::new("ffprobe");
    command.args(["-v", "error", "-show_entries", "stream=duration", "-of", "csv=p=0"]).arg(film);
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    text.lines().map(|line| line.trim_end_matches(',').parse().unwrap()).collect()
}

#[test]
fn a_film_in_mp4_is_cut_to_the_times_that_are_asked_for() {
    let (proxy, root) = start(", mp4: {}");
    let made = std::process::Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc=duration=4:size=160x120:rate=15",
        ])
        .args(["-f", "lavfi", "-i", "sine=duration=6", "-map", "0", "-map", "1", "-g", "15"])
        .args(["-pix_fmt", "yuv420p", "-c:v", "mpeg4", "-c:a", "aac"])
        .arg(root.path().join("film.mp4"))
        .status();
    assert!(made.unwrap().success());
    let cut = |query: &str| {
        let answer = proxy.get(&format!("/film.mp4{query}"));
        assert_eq!(answer.status, 200, "{query}");
        let file = root.path().join("cut.mp4");
        fs::write(&file, &answer.body).unwrap();
        durations(&file)
    };
    for (query, expected) in [
        ("", [4.0, 6.0]),
        ("?start=0", [4.0, 6.0]),
        ("?start=1.5", [2.5, 4.5]),
        ("?start=1&end=3", [2.0, 2.0]),
        ("?end=2.5", [2.5, 2.5]),
        ("?end=5", [4.0, 5.0]),
    ] {
        let got = cut(query);
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < 0.15;
        assert!(got.len() == 2 && got.iter().zip(&expected).all(near), "{query}: {got:?}");
    }
    assert_eq!(cut("?start=5").len(), 1, "the picture is over");
    assert_eq!(proxy.get("/film.mp4?start=6.5").status, 500);
    // A part of what is cut is a part of that.
    let whole = proxy.get("/film.mp4?start=2").body;
    let part = ask(&proxy, "GET /film.mp4?start=2", "Range: bytes=100-299\r\n");
    assert_eq!((part.status, part.body.as_slice()), (206, &whole[100..300]));
    assert_eq!(proxy.get("/a.js?start=1").status, 500, "no film");
}
