//! `forebay up` as its users meet it: the real proxy, ledger and ffmpeg, supervised.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use system_tests::running::{Running, Setup, is_alive, pid_of, send};

/// A GET: status, content type and body.
fn get(url: &str) -> (u16, String, String) {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder().http_status_as_error(false).build(),
    );
    let mut response = agent.get(url).call().unwrap_or_else(|error| panic!("GET {url}: {error}"));
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap_or_default());
    let (status, kind) = (response.status().as_u16(), kind.unwrap_or_default().to_owned());
    let mut body = Vec::new();
    response.body_mut().as_reader().read_to_end(&mut body).unwrap_or_default();
    (status, kind, String::from_utf8_lossy(&body).into_owned())
}

fn get_json(url: &str) -> Value {
    let (status, _, body) = get(url);
    assert_eq!(status, 200, "GET {url}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("GET {url}: {error}: {body}"))
}

/// Posts a transfer between the first two accounts of one currency; true when it was taken.
fn post_transfer(api: &str, key: &str) -> bool {
    let accounts = get_json(&format!("{api}/accounts"));
    let accounts = accounts["items"].as_array().expect("a list of accounts").clone();
    let debit = &accounts[0];
    let credit = accounts[1..].iter().find(|other| other["currency"] == debit["currency"]);
    let credit = credit.expect("local.yaml has two accounts of one currency");
    let entry = |account: &Value, direction: &str| json!({ "account": account["code"], "direction": direction, "amount": "1.25" });
    let body = json!({ "description": "test", "entries": [entry(debit, "debit"), entry(credit, "credit")] });
    ureq::post(format!("{api}/transfers"))
        .header("Idempotency-Key", key)
        .send_json(&body)
        .is_ok_and(|response| response.status() == 201)
}

/// Debits summed over the currencies of the trial balance; asserts that every difference is zero.
fn balanced_debits(api: &str) -> f64 {
    let report = get_json(&format!("{api}/trial-balance"));
    let currencies = report["currencies"].as_array().expect("currencies");
    for currency in currencies {
        let difference = currency["difference"].as_str().expect("amounts are strings");
        assert_eq!(difference.parse::<f64>(), Ok(0.0), "{report}");
    }
    currencies.iter().filter_map(|currency| currency["debits"].as_str()?.parse::<f64>().ok()).sum()
}

fn media_sequence(playlist: &str) -> Option<u64> {
    playlist.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")?.parse().ok())
}

/// The ledger's pages under a path of the proxy's, with links that stay there; and its stream of events, which the proxy
/// passes on as it comes.
fn the_books_are_shown_and_told(books: &str, api: &str) {
    let (status, kind, page) = get(books);
    assert_eq!((status, kind.as_str()), (200, "text/html; charset=utf-8"), "{page}");
    let link = "accounts/assets:cash:eur";
    assert!(page.contains(&format!("href=\"./{link}\"")), "{page}");
    let (status, _, statement) = get(&format!("{books}{link}"));
    assert!(status == 200 && statement.contains("Closing balance"), "{statement}");
    for path in ["style.css", "v1/accounts/assets:cash:eur/statement.csv?", "docs/"] {
        assert_eq!(get(&format!("{books}{path}")).0, 200, "{path}");
    }
    let address = api.trim_start_matches("http://").trim_end_matches("/v1");
    let mut stream = std::net::TcpStream::connect(address).expect("the proxy listens");
    let patience = Some(std::time::Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("a timeout");
    let asked = format!("GET /v1/events?after=0 HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(asked.as_bytes()).expect("it takes a request");
    let mut told = String::new();
    while !told.contains("event: transfer.posted") {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).expect("an event in time");
        assert!(count > 0, "the stream ended: {told}");
        told.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("id: 1\n"), "{told}");
}

#[test]
fn up_shows_a_live_stream_and_a_balanced_ledger_through_the_proxy() {
    let mut running = Running::start();
    let printed = running.printed_so_far();
    let keys = ["page", "playlist", "ledger", "ledger_docs", "ledger_books", "proxy_admin"];
    for key in keys {
        assert!(printed.contains(&running.url(key)), "{key} is not in the block:\n{printed}");
    }

    let (status, kind, page) = get(&running.url("page"));
    assert_eq!((status, kind.starts_with("text/html")), (200, true), "{page}");
    let (status, kind, first) = get(&running.url("playlist"));
    assert_eq!((status, kind.as_str()), (200, "application/vnd.apple.mpegurl"), "{first}");
    assert!(first.contains("#EXT-X-MAP"), "fMP4 names its initialisation: {first}");
    let playlist = running.url("playlist");
    running.wait_until("the live window moves on", |_| {
        media_sequence(&get(&playlist).2) > media_sequence(&first)
    });

    let api = running.url("ledger");
    assert!(post_transfer(&api, "first"), "the transfer is taken through the proxy");
    assert!(post_transfer(&api, "first"), "and answered again for the same key");
    assert!((balanced_debits(&api) - 1.25).abs() < 1e-9, "but booked once");

    the_books_are_shown_and_told(&format!("{}/", running.url("ledger_books")), &api);

    let admin = running.url("proxy_admin");
    let (_, _, metrics) = get(&format!("{admin}/metrics"));
    assert!(
        metrics.contains("lane=\"transactions\""),
        "the ledger's requests went through its lane"
    );
    for path in ["/metrics", "/healthz", "/readyz"] {
        let (_, _, body) = get(&format!("{}{path}", running.url("page")));
        assert!(!body.contains("forebay_proxy_"), "{path} is answered on the public listener");
    }

    let stopped = running.stop(Signal::INT);
    assert!(stopped.exit.success(), "{:?}\n{}", stopped.exit, stopped.printed);
    assert_eq!(stopped.alive, Vec::<u32>::new(), "no process is left");
    let kept = |file: &String| {
        ["owner", "ledger/ledger.sqlite", "ledger/ledger.sqlite.lock"].contains(&file.as_str())
            || file.starts_with("logs/")
    };
    let stale: Vec<_> = stopped.files.iter().filter(|file| !kept(file)).collect();
    assert!(stale.is_empty(), "only data and logs are kept: {stale:?}");
}

#[test]
fn a_child_that_dies_is_restarted_and_said_so() {
    let mut running = Running::start();
    let api = running.url("ledger");
    assert!(post_transfer(&api, "before"));
    for child in running.children() {
        let name = child["name"].as_str().expect("a child has a name").to_owned();
        let killed = pid_of(&child).expect("a running child has a pid");
        send(killed, Signal::KILL);
        running.wait_until(&format!("{name} is another process"), |running| {
            pid_of(&running.child(&name)).is_some_and(|pid| pid != killed)
        });
        running.wait_until(&format!("all is healthy after {name} died"), Running::is_healthy);
        assert_eq!(running.child(&name)["restarts"], 1, "{name}");
        assert!(
            running
                .printed_so_far()
                .lines()
                .any(|line| line.contains(&name) && line.contains("restart")),
            "{name}'s death is not mentioned:\n{}",
            running.printed_so_far()
        );
    }
    assert!(post_transfer(&api, "after"), "the same URL works after every child was killed once");
    assert!((balanced_debits(&api) - 2.5).abs() < 1e-9, "nothing acknowledged was lost");
    let playlist = running.url("playlist");
    let then = media_sequence(&get(&playlist).2);
    running.wait_until("the stream goes on", |_| media_sequence(&get(&playlist).2) > then);
}

#[test]
fn a_run_put_to_sleep_is_stopped_by_down_all_the_same() {
    let running = Running::start();
    send(running.pid(), Signal::STOP);
    let down = running.command("down").output().expect("it runs");
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    assert_eq!(running.command("status").output().expect("it runs").status.code(), Some(69));
}

#[test]
fn a_second_up_says_it_is_running_and_down_stops_the_first() {
    let running = Running::start();
    let second = running.command("up").output().expect("it runs");
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr) + String::from_utf8_lossy(&second.stdout);
    assert!(said.contains("running") && said.contains(&running.pid().to_string()), "{said}");
    assert!(running.is_healthy(), "and it did the first no harm");

    let pids: Vec<u32> = running.children().iter().filter_map(pid_of).collect();
    assert!(pids.len() >= 4, "proxy, ledger, origin, ffmpeg: {pids:?}");
    let down = running.command("down").output().expect("it runs");
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "`down` returns when the last process is gone");
    assert_eq!(running.command("status").output().expect("it runs").status.code(), Some(69));
}

#[test]
fn killing_the_supervisor_leaves_no_process_and_up_starts_again() {
    let setup = Setup::default();
    let running = Running::start_as(&setup);
    let pids: Vec<u32> = running.children().iter().filter_map(pid_of).collect();
    let api = running.url("ledger");
    assert!(post_transfer(&api, "before"));
    let stopped = running.stop(Signal::KILL);
    assert!(!stopped.exit.success());

    let mut again = Running::start_as(&setup);
    again.wait_until("the first run's children are gone", |_| {
        !pids.iter().any(|pid| is_alive(*pid))
    });
    assert!(post_transfer(&again.url("ledger"), "after"));
    assert!((balanced_debits(&again.url("ledger")) - 2.5).abs() < 1e-9, "the ledger kept its data");
}

#[test]
fn a_taken_port_is_moved_and_said_so() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let public = taken.local_addr().expect("it is bound");
    let running = Running::start_as(&Setup { public: public.to_string(), ..Setup::default() });
    let moved = running.url("page");
    assert!(!moved.ends_with(&public.to_string()), "{moved}");
    let printed = running.printed_so_far();
    let port = public.port().to_string();
    assert!(
        printed.lines().any(|line| line.contains(&port) && line.contains("taken")),
        "the move is not said:\n{printed}"
    );
    assert_eq!(get(&moved).0, 200);
}

#[test]
fn without_ffmpeg_everything_else_runs_and_it_is_said() {
    let programs = tempfile::tempdir().expect("a temporary folder");
    std::os::unix::fs::symlink("/usr/bin/setpriv", programs.path().join("setpriv"))
        .expect("it is writable");
    let setup = Setup { programs: Some(programs.path().to_owned()), ..Setup::default() };
    let running = Running::start_as(&setup);
    let printed = running.printed_so_far();
    assert!(printed.contains("ffmpeg") && printed.contains("apt"), "{printed}");
    assert!(post_transfer(&running.url("ledger"), "no-stream-needed"));
    assert_eq!(get(&running.url("page")).0, 200);
}

#[test]
fn a_wrong_environment_starts_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("wrong.yaml");
    std::fs::write(&file, "version: 1\nname: wrong\nledgr: {}\n").expect("it is writable");
    let output = Command::new(system_tests::binaries::path("forebay"))
        .arg("up")
        .arg(&file)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(65), "{said}");
    assert!(said.contains("wrong.yaml:3:1") && said.contains("did you mean"), "{said}");
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("it exists").count(),
        1,
        "nothing was written"
    );
}
