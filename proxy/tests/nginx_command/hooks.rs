//! What drives nginx from outside drives this: Debian's unit and init script, certbot with its plugin for nginx.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Nginx;
use crate::harness::{BINARY, eventually, free_port};
use crate::pebble::Pebble;

const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging");

/// What a command says; it must succeed.
fn said(command: &mut Command) -> String {
    let ran = command.output().unwrap();
    let text = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert!(ran.status.success(), "{command:?}: {text}");
    text
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_daemon_is_found_by_its_name_and_opens_ports_by_a_reload() {
    let nginx = Nginx::with("", "return 204;");
    let daemon = ["-g", "daemon on; master_process on;"];
    assert_eq!(
        nginx.run(&[&["-t", "-q"][..], &daemon].concat()),
        (Some(0), String::new(), String::new())
    );
    assert_eq!(nginx.run(&daemon).0, Some(0));
    let pid = nginx.read("nginx.pid");
    let signalled = |arguments: &[&str]| {
        let mut command = Command::new("start-stop-daemon");
        said(
            command
                .arg("--stop")
                .args(["--quiet", "--pidfile"])
                .arg(nginx.path("nginx.pid"))
                .args(arguments),
        )
    };
    // As Debian's init script does for logrotate.
    fs::rename(nginx.path("error.log"), nginx.path("error.log.1")).unwrap();
    signalled(&["--signal", "USR1", "--name", "nginx"]);
    nginx.says("error.log", "log files reopened");

    let (written, port) = (nginx.read("nginx.conf"), free_port());
    let more = written.replace("listen ", &format!("listen 127.0.0.1:{port}; listen "));
    fs::write(nginx.path("nginx.conf"), more).unwrap();
    assert_eq!(nginx.run(&[&daemon[..], &["-s", "reload"]].concat()).0, Some(0));
    eventually("another port", || TcpStream::connect(("127.0.0.1", port)).ok());
    fs::write(nginx.path("nginx.conf"), written).unwrap();
    assert_eq!(nginx.run(&["-s", "reload"]).0, Some(0));
    eventually("a closed port", || TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
    assert_eq!((nginx.get("/").status, nginx.read("nginx.pid")), (204, pid));

    signalled(&["--retry", "QUIT/60", "--name", "nginx"]);
    assert!(!nginx.path("nginx.pid").exists());
}

#[test]
fn debians_unit_takes_the_drop_in() {
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("nginx.service");
    // The one that Debian's nginx has, but for its words.
    let text = "[Service]\nType=forking\nPIDFile=/run/nginx.pid\nExecStartPre=/bin/false\nExecStart=/bin/false\n\
                ExecReload=/bin/false\nExecStop=-/bin/false\nTimeoutStopSec=5\nKillMode=mixed\n";
    fs::write(&unit, text).unwrap();
    let drop_in = fs::read_to_string(format!("{PACKAGING}/nginx.service.d/forebay.conf")).unwrap();
    let drop_in = drop_in.replace("/usr/local/sbin/nginx", BINARY);
    assert!(drop_in.contains(BINARY));
    fs::create_dir(dir.path().join("nginx.service.d")).unwrap();
    fs::write(dir.path().join("nginx.service.d/forebay.conf"), drop_in).unwrap();
    let analyze = |arguments: &[&str]| {
        let path = format!("{}:", dir.path().display());
        said(
            Command::new("systemd-analyze")
                .args(arguments)
                .arg("nginx.service")
                .env("SYSTEMD_UNIT_PATH", path),
        )
    };
    assert_eq!(analyze(&["verify"]), "");
    let text = analyze(&["security", "--offline=true", "--no-pager", "--threshold=25"]);
    assert!(text.contains("Overall exposure level"), "{text}");
}

/// The serial number of the certificate shown for a name.
fn serial(port: u16) -> Option<String> {
    let mut client = Command::new("openssl");
    client.args([
        "s_client",
        "-servername",
        "shop.example",
        "-connect",
        &format!("127.0.0.1:{port}"),
    ]);
    let shown = client.stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap().stdout;
    let mut reader = Command::new("openssl");
    reader.args(["x509", "-noout", "-serial"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut reader = reader.stderr(Stdio::null()).spawn().unwrap();
    reader.stdin.take().unwrap().write_all(&shown).unwrap();
    let read = reader.wait_with_output().unwrap();
    read.status.success().then(|| String::from_utf8_lossy(&read.stdout).into_owned())
}

#[test]
fn certbot_fetches_a_certificate_puts_it_in_and_renews_it() {
    let nginx = Nginx::with("", "return 204;");
    let (http, https) = (nginx.address.port(), free_port());
    let authority = Pebble::asking(http, https);
    let _runs = authority.start();
    let site = format!(
        "pid nginx.pid;\nerror_log error.log notice;\nevents {{ }}\nhttp {{\naccess_log off;\nserver {{\n\
         listen 127.0.0.1:{http};\nserver_name shop.example;\nlocation / {{ return 200 shop; }}\n}}\n}}\n"
    );
    fs::write(nginx.path("nginx.conf"), site).unwrap();
    // Debian's paths are the defaults of the real one.
    let program = nginx.path("bin/nginx");
    fs::create_dir(nginx.path("bin")).unwrap();
    let folder = nginx.dir.path().display();
    write_program(
        &program,
        &format!(
            "#!/bin/sh\nexec {folder}/nginx -p {folder}/ -e early.log -c {folder}/nginx.conf \"$@\"\n"
        ),
    );
    said(Command::new(&program).args(["-g", "daemon on;"]));
    let certbot = |arguments: &[&str]| {
        let own = |name: &str| nginx.path(name).display().to_string();
        let path = format!("{folder}/bin:{}", std::env::var("PATH").unwrap_or_default());
        let group = said(Command::new("id").arg("-gn"));
        said(
            Command::new("certbot")
                .args(arguments)
                .args(["-n", "--no-verify-ssl", "--server", &authority.directory])
                .args([
                    "--nginx-ctl",
                    &own("bin/nginx"),
                    "--nginx-server-root",
                    &folder.to_string(),
                ])
                .args([
                    "--config-dir",
                    &own("le"),
                    "--work-dir",
                    &own("w"),
                    "--logs-dir",
                    &own("l"),
                ])
                .args(["--http-01-port", &http.to_string(), "--https-port", &https.to_string()])
                .env("PATH", path)
                .env("FOREBAY_GROUP", group.trim()),
        )
    };
    let hook = PathBuf::from(PACKAGING).join("certbot-deploy-hook").canonicalize().unwrap();
    let hook = hook.display().to_string();
    let first = ["run", "--nginx", "--agree-tos", "-m", "a@shop.example", "-d", "shop.example"];
    let told = certbot(&[&first[..], &["--deploy-hook", &hook]].concat());
    assert!(told.contains("Successfully deployed certificate"), "{told}");
    // The port was opened by certbot's reload.
    let shown = eventually("a certificate", || serial(https));
    let mode = |name: &str| fs::metadata(nginx.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("le/live"), mode("le/archive/shop.example/privkey1.pem")), (0o710, 0o640));

    certbot(&["renew", "--force-renewal", "--no-random-sleep-on-renew"]);
    eventually("the renewed certificate", || serial(https).filter(|now| *now != shown));
    assert_eq!(mode("le/archive/shop.example/privkey2.pem"), 0o640);
}
