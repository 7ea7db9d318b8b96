//! The commands that work at the database itself: what they print, word for word, is in `commands/`. `UPDATE=1`
//! rewrites those files; read the difference.

use std::path::{Path, PathBuf};
use std::process::Output;

use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::binary::{binary, serving};
use crate::dated::Dated;
use crate::engine::{Database, Engine, Server, on_every_engine};
use crate::keys::with;
use crate::running::answer;

on_every_engine!(
    reports_read_the_same_everywhere,
    a_period_is_closed_by_command,
    keys_are_made_and_revoked_by_command
);

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = binary().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands").join(name)
}

/// Holds a text against its file.
fn compare(name: &str, text: &str) {
    let path = golden(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} is not as expected (UPDATE=1 rewrites)");
}

/// The names of transfers are chance: each becomes the same made-up one, of the same length.
fn without_chance(text: &str) -> String {
    let is_id = |word: &str| word.len() == 36 && word.matches('-').count() == 4;
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    let mut said = text.to_owned();
    for word in text.split(ends).filter(|word| is_id(word)) {
        said = said.replace(word, "00000000-0000-7000-8000-000000000000");
    }
    said
}

/// Five days of January 2026, some of it backdated, booked at noon.
async fn january(database: &Database) {
    let at = |day: i64| {
        let day = date(2026, 1, 5).checked_add(day.days()).unwrap();
        day.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp()
    };
    let mut dated = Dated::open(database, at(0)).await;
    for day in 0..5 {
        let backdated = (day == 3).then(|| date(2026, 1, 6));
        let requests =
            vec![dated.request(0, 1, 1050 + day * 100, None), dated.request(1, 2, 25, backdated)];
        let now: Timestamp = at(day);
        assert!(
            dated.book(now, requests).await.iter().all(forebay_ledger::batch::Verdict::is_booked)
        );
    }
    dated.writer.close().await.unwrap();
    dated.reader.close().await;
}

async fn reports_read_the_same_everywhere(server: &Server) {
    let database = server.database().await;
    january(&database).await;
    for (name, arguments) in [
        ("trial-balance", &["trial-balance", "--booked-before", "2026-01-09"] as &[&str]),
        ("trial-balance-effective", &["trial-balance", "--effective-through", "2026-01-06"]),
        ("statement", &["statement", "eur:b", "--from", "2026-01-06", "--to", "2026-01-09"]),
        (
            "statement-effective",
            &[
                "statement",
                "eur:b",
                "--by",
                "effective",
                "--from",
                "2026-01-06",
                "--to",
                "2026-01-08",
            ],
        ),
        ("general-ledger", &["general-ledger", "--from", "2026-01-07", "--to", "2026-01-09"]),
    ] {
        // How they are written is the same whatever they are read from.
        let formats: &[&str] =
            if server.engine == Engine::Sqlite { &["table", "json", "csv"] } else { &["csv"] };
        for format in formats {
            let mut all = vec!["report"];
            all.extend(arguments);
            all.extend(["--database", &database.url, "--format", format]);
            let (code, said, error) = run(&all);
            assert_eq!(code, 0, "{name}: {error}");
            compare(&format!("{name}.{format}"), &without_chance(&said));
        }
    }
    let (code, said, _) = run(&["report", "trial-balance", "--database", &database.url]);
    assert!(code == 0 && said.contains("difference 0.00"), "{said}");
    for (arguments, expected, why) in [
        (&["report", "statement", "nope"] as &[&str], 1, "there is no account \"nope\""),
        (&["report", "statement", "eur:b", "--from", "noon"], 1, "is no time"),
        (
            &["report", "statement", "eur:b", "--from", "2026-02-01", "--to", "2026-01-01"],
            1,
            "later than",
        ),
        (&["report", "trial-balance", "--booked-before", "noon"], 2, "is no time"),
        (&["report", "trial-balance", "--effective-through", "2026-02-30"], 2, "is no day"),
    ] {
        let mut all = arguments.to_vec();
        all.extend(["--database", &database.url]);
        let (code, _, error) = run(&all);
        assert!(code == expected && error.contains(why), "{arguments:?}: {code} {error}");
    }
}

async fn a_period_is_closed_by_command(server: &Server) {
    let database = server.database().await;
    january(&database).await;
    let close = |through: &str| run(&["close", "--database", &database.url, "--through", through]);
    let tomorrow = (Timestamp::now() + 24.hours()).strftime("%F").to_string();
    let (code, said, error) = close("2026-01-06");
    assert_eq!((code, said.as_str()), (0, "closed through 2026-01-06 (close 1)\n"), "{error}");
    assert_eq!(close("2026-01-06").1, "it was closed through 2026-01-06 before (close 1)\n");
    for (through, expected, why) in [
        ("2026-01-05", 1, "closed through 2026-01-06 already"),
        (&tomorrow, 1, "not over yet"),
        ("x", 2, "is no day"),
    ] {
        let (code, _, error) = close(through);
        assert!(code == expected && error.contains(why), "{through}: {code} {error}");
    }
    let served = serving(&database, &[]).await;
    let (code, _, error) = close("2026-01-07");
    assert!(
        code == 69 && error.contains("POST /v1/closes") && error.contains("already served"),
        "{error}"
    );
    let log = served.api.read("/v1/audit-log").await;
    assert_eq!(
        (&log["items"][0]["actor"], &log["items"][0]["subject"]),
        (&"command".into(), &"close:1".into())
    );
    // Reports need no lock.
    assert_eq!(run(&["report", "general-ledger", "--database", &database.url]).0, 0);
}

async fn keys_are_made_and_revoked_by_command(server: &Server) {
    let database = server.database().await;
    let url = database.url.as_str();
    let create = ["key", "create", "--database", url, "--name", "first", "--role", "admin"];
    let (code, _, error) = run(&create);
    assert!(code == 65 && error.contains("forebay-ledger migrate"), "{code} {error}");
    assert_eq!(run(&["migrate", "--database", url]).0, 0);
    let (code, said, error) = run(&create);
    let admin = said.trim();
    assert!(code == 0 && admin.starts_with("fbl_") && !error.contains(admin), "{said}{error}");
    let (_, second, _) = run(&[
        "key",
        "create",
        "--database",
        url,
        "--name",
        "shop, 2",
        "--role",
        "poster",
        "--expires",
        "2999-01-01",
        "--per-second",
        "5",
        "--burst",
        "7",
    ]);
    let served = serving(&database, &["--auth", "required"]).await;
    let ask = |key: &str| answer(with(&served.api, key, reqwest::Method::GET, "/v1/accounts"));
    assert_eq!(ask(admin).await.status, 200);
    assert_eq!(ask(second.trim()).await.status, 200);
    assert_eq!(served.api.get("/v1/accounts").await.status, 401);
    let (code, _, error) = run(&create);
    assert!(code == 69 && error.contains("/v1/keys"), "{error}");
    let mut served = served;
    crate::binary::signal(&served.child, "-TERM");
    assert_eq!(crate::binary::ended(&mut served.child).await.code(), Some(0));
    let log = std::fs::read_to_string(database.directory.join("log")).unwrap();
    assert!(!log.contains(admin) && !log.contains(second.trim()), "a key is never logged");

    assert_eq!(run(&["key", "revoke", "--database", url, "2"]).1, "key 2 (shop, 2) is revoked\n");
    assert_eq!(
        run(&["key", "revoke", "--database", url, "2"]).1,
        "key 2 (shop, 2) was revoked before\n"
    );
    let (code, _, error) = run(&["key", "revoke", "--database", url, "9"]);
    assert!(code == 1 && error.contains("there is no key 9"), "{error}");
    let (_, listed, _) = run(&["key", "list", "--database", url, "--format", "csv"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 3, "{listed}");
    assert!(lines[1].starts_with(&format!("1,first,admin,{},,20", &admin[..12])), "{listed}");
    assert!(
        lines[2].contains("\"shop, 2\",poster,")
            && lines[2].contains("\"5/s, 7 at once\"")
            && lines[2].contains("2999-01-01T00:00:00Z"),
        "{listed}"
    );
    let (_, table, _) = run(&["key", "list", "--database", url]);
    assert!(table.starts_with("id  name     role    prefix        rate"), "{table}");
}

#[tokio::test]
async fn a_key_that_nobody_was_shown_is_not_in_force() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let database = server.database().await;
    let url = database.url.as_str();
    assert_eq!(run(&["migrate", "--database", url]).0, 0);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let create = ["key", "create", "--database", url, "--name", "lost", "--role", "admin"];
    let output = binary().args(create).stdout(full).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("it is revoked"), "{error}");
    let (_, listed, _) = run(&["key", "list", "--database", url, "--format", "csv"]);
    let cells: Vec<&str> = listed.lines().nth(1).unwrap().split(',').collect();
    assert!(cells[1] == "lost" && cells[7].starts_with("20"), "{listed}");
}

#[test]
fn times_in_which_nothing_can_be_done_are_refused() {
    for (flag, time) in
        [("--request-timeout", "0s"), ("--body-timeout", "0ms"), ("--sign-every", "10ms")]
    {
        let (code, _, error) = run(&["serve", "--database", "sqlite:none", flag, time]);
        assert!(code == 2 && error.contains("must be"), "{flag}: {error}");
    }
}

#[tokio::test]
async fn a_first_key_comes_from_a_file_and_is_never_logged() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let database = server.database().await;
    let file = database.directory.join("key");
    let path = file.display().to_string();
    let key = format!("fbl_{}", "k".repeat(43));
    std::fs::write(&file, format!("{key}\n")).unwrap();
    for _ in 0..2 {
        let mut served =
            serving(&database, &["--auth", "required", "--first-admin-key-file", &path]).await;
        assert_eq!(
            answer(with(&served.api, &key, reqwest::Method::GET, "/v1/keys")).await.status,
            200
        );
        crate::binary::signal(&served.child, "-TERM");
        crate::binary::ended(&mut served.child).await;
    }
    let log = std::fs::read_to_string(database.directory.join("log")).unwrap();
    assert!(log.contains("is booked") && !log.contains(&key), "{log}");
    // One that was revoked does not come back, and the service serves whoever has another.
    let arguments = ["key", "revoke", "--database", &database.url, "1"];
    assert_eq!(run(&arguments).0, 0);
    let served = serving(&database, &["--auth", "required", "--first-admin-key-file", &path]).await;
    assert_eq!(answer(with(&served.api, &key, reqwest::Method::GET, "/v1/keys")).await.status, 401);
    drop(served);
    std::fs::write(&file, "fbl_short").unwrap();
    let (code, _, error) =
        run(&["serve", "--database", &database.url, "--first-admin-key-file", &path]);
    assert!(
        code == 1
            && error.contains(&path)
            && error.contains("it is no API key")
            && !error.contains("fbl_short"),
        "{error}"
    );
    let (code, _, error) =
        run(&["serve", "--database", &database.url, "--first-admin-key-file", "/no/file"]);
    assert!(code == 1 && error.contains("/no/file"), "{error}");
}
