//! One file of the embedded engine by several names: real processes, since a process keeps its own locks apart from nobody.

use std::os::unix::fs::symlink;
use std::path::Path;

use forebay_ledger::verify::verify;

use crate::binary::{Serving, binary, ended, serving, signal};
use crate::engine::{Engine, Server};
use crate::running::{moving, open_pair};

/// What a service, and a migration, say to a path.
fn refused(path: &Path) -> (i32, String) {
    let url = format!("sqlite:{}", path.display());
    let migrate = binary().args(["migrate", "--database", &url]).output().unwrap();
    let mut serve = binary();
    serve.args(["serve", "--auth", "open", "--database", &url]);
    let serve = serve.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let serve = serve.output().unwrap();
    assert_eq!(serve.status.code(), migrate.status.code());
    (serve.status.code().unwrap(), String::from_utf8(serve.stderr).unwrap())
}

async fn stop(mut serving: Serving) {
    signal(&serving.child, "-TERM");
    assert!(ended(&mut serving.child).await.success());
}

#[tokio::test]
async fn a_file_has_one_service_by_whatever_name() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let database = server.database().await;
    let path = database.directory.join("ledger.sqlite");
    let first = serving(&database, &[]).await;
    open_pair(&first.api).await;
    let body = moving("eur:credit", "eur:debit", "1");
    assert_eq!(first.api.transfer("a", &body).await.status, 201);
    // As `cp -al` leaves it, in a folder with nothing else.
    let snapshot = server.path("snapshot");
    std::fs::create_dir(&snapshot).unwrap();
    let hard = snapshot.join("ledger.sqlite");
    std::fs::hard_link(&path, &hard).unwrap();
    let folder = server.path("folder");
    symlink(&database.directory, &folder).unwrap();
    let soft = server.path("soft.sqlite");
    symlink(&path, &soft).unwrap();
    let (code, said) = refused(&hard);
    assert!(code == 69 && said.contains("by another of its names"), "{code} {said}");
    for same in [&path, &folder.join("ledger.sqlite"), &soft] {
        let (code, said) = refused(same);
        assert!(code == 69 && said.contains("by process"), "{code} {said}");
    }
    // The engine's own locks are as they were.
    assert_eq!(first.api.transfer("b", &body).await.status, 201);
    verify(&database.url.parse().unwrap(), None).await.unwrap();
    stop(first).await;
    // By which name it was served nobody knows.
    for name in [&path, &hard] {
        let (code, said) = refused(name);
        assert!(code == 65 && said.contains("2 names (hard links)"), "{code} {said}");
    }
    std::fs::remove_file(&hard).unwrap();
    let again = serving(&database, &[]).await;
    assert_eq!(again.api.read("/v1/accounts/eur:debit/balance").await["debits"], "2.00");
    stop(again).await;
}
