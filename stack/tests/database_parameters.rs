//! The tuned parameters are parameters: a real MariaDB starts with them and reads each back as it was
//! written.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a failed test")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forebay_stack::environment::aws::{Database, Engine};
use forebay_stack::estate::parameters;

/// What `DBInstanceClassMemory` is taken to be: the test machine is small.
const MEMORY: u64 = 512 << 20;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As RDS would: `{DBInstanceClassMemory*7/10}` is a number on the instance.
fn evaluated(value: &str) -> String {
    let Some(formula) = value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return value.to_owned();
    };
    let rest = formula.strip_prefix("DBInstanceClassMemory").unwrap();
    let mut number = MEMORY;
    let mut rest = rest;
    while let Some(operator) = rest.chars().next() {
        let end = rest[1..].find(['*', '/']).map_or(rest.len(), |end| end + 1);
        let operand: u64 = rest[1..end].parse().unwrap();
        number = if operator == '*' { number * operand } else { number / operand };
        rest = &rest[end..];
    }
    number.to_string()
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A server in `folder` with these settings, and how to ask it.
fn start(
    folder: &Path,
    settings: &[(String, String)],
) -> (Server, impl Fn(&str) -> Option<String>) {
    let data = folder.join("data");
    let made = Command::new("mariadb-install-db")
        .args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"])
        .arg(format!("--user={}", user()))
        .arg(format!("--datadir={}", data.display()))
        .output()
        .expect("mariadb-server is installed by `tools/install.sh test`");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let socket = folder.join("socket");
    let mut command = Command::new("mariadbd");
    command.args(["--no-defaults", "--skip-networking"]);
    command.arg(format!("--user={}", user()));
    command.arg(format!("--datadir={}", data.display()));
    command.arg(format!("--socket={}", socket.display()));
    command.args(settings.iter().map(|(name, value)| format!("--{name}={value}")));
    let log = std::fs::File::create(folder.join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let server = Server(command.spawn().unwrap());
    let ask = move |question: &str| {
        let output = Command::new("mariadb")
            .args(["--no-defaults", "--user=root", "--batch", "--skip-column-names"])
            .arg(format!("--socket={}", socket.display()))
            .args(["--execute", question])
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    (server, ask)
}

/// The server says ON and OFF for what is written as 1 and 0, and times with all their decimals.
fn same(written: &str, read: &str) -> bool {
    let plain = match read {
        "ON" => "1",
        "OFF" => "0",
        other => other,
    };
    let number = |text: &str| text.parse::<f64>().ok();
    plain == written
        || number(plain).zip(number(written)).is_some_and(|(a, b)| (a - b).abs() < f64::EPSILON)
}

#[test]
fn a_real_server_starts_with_them_and_reads_them_back() {
    let database = Database {
        engine: Engine::Mariadb,
        version: None,
        major_upgrade: false,
        class: "db.r7g.large".to_owned(),
        storage: None,
        multi_az: true,
        readers: 0,
        proxy: false,
        backups: proxy_config::units::Duration::secs(86_400),
        parameters: [].into(),
    };
    let settings: Vec<(String, String)> = parameters::tuned(&database)
        .into_iter()
        .map(|parameter| (parameter.name, evaluated(&parameter.value)))
        .collect();
    assert!(settings.len() > 10, "{settings:?}");
    let folder = tempfile::tempdir().unwrap();
    let (mut server, ask) = start(folder.path(), &settings);
    let begun = Instant::now();
    while ask("SELECT 1").is_none() {
        let log = || std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(server.0.try_wait().unwrap().is_none(), "it does not start: {}", log());
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not answer: {}", log());
        std::thread::sleep(Duration::from_millis(100));
    }
    for (name, written) in &settings {
        let read = ask(&format!("SELECT @@GLOBAL.{name}")).unwrap_or_default();
        // Memory is handed out in chunks: the pool is the next larger number of them.
        let rounded = name == "innodb_buffer_pool_size"
            && read.parse::<u64>().unwrap().abs_diff(written.parse().unwrap()) < 128 << 20;
        assert!(rounded || same(written, &read), "{name}: written {written}, read {read}");
    }
}

#[test]
fn formulas_are_evaluated_as_on_an_instance() {
    assert_eq!(evaluated("{DBInstanceClassMemory*7/10}"), (MEMORY * 7 / 10).to_string());
    assert_eq!(evaluated("{DBInstanceClassMemory/32768}"), (MEMORY / 32_768).to_string());
    assert_eq!(evaluated("200"), "200");
}
