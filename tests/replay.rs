//! nginx configurations, translated, beside Debian's nginx: the same requests get the same answers,
//! or differ as the report says.

use std::process::{Command, Output};

use serde_json::Value;
use system_tests::binaries;

fn replay(sample: &str, arguments: &[&str]) -> (Output, Value) {
    let nginx = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"];
    let nginx = nginx.iter().find(|path| std::path::Path::new(path).exists()).unwrap_or(&"nginx");
    let output = binaries::command("forebay-nginx")
        .current_dir(binaries::repository().join("nginx-compat/tests/samples"))
        .args(["replay", sample, "-o", "json", "--nginx", nginx])
        .args(arguments)
        .output()
        .expect("forebay-nginx runs");
    let account = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, account)
}

#[test]
fn translated_sites_answer_as_nginx_does() {
    binaries::path("forebay-proxy");
    let samples = [
        ("simple-proxy.conf", 18),
        ("api-gateway.conf", 150),
        ("many-servers.conf", 100),
        ("default-only.conf", 50),
        ("edge-cache.conf", 80),
    ];
    for (sample, requests_min) in samples {
        let (output, account) = replay(sample, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(account["unexplained"], 0, "{sample}: {said}\n{account:#}");
        assert!(account["requests"].as_u64() >= Some(requests_min), "{sample}: {account:#}");
        assert!(output.status.success(), "{sample}: {said}");
    }
}

/// Configurations as their projects document them: each converts, loads, and answers as nginx does.
#[test]
fn sites_in_their_documented_shapes_answer_as_nginx_does() {
    let folder = binaries::repository().join("nginx-compat/tests/sites");
    let files = std::fs::read_dir(&folder).expect("the sites are there");
    let mut sites: Vec<String> = files
        .map(|file| file.expect("the sites are there").file_name().into_string().expect("ASCII"))
        .filter(|name| name.ends_with(".conf"))
        .collect();
    sites.sort();
    assert!(sites.len() >= 30, "{sites:?}");
    binaries::path("forebay-proxy");
    let next = std::sync::Mutex::new(sites.into_iter());
    let failed: std::sync::Mutex<Vec<String>> = std::sync::Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let site = next.lock().expect("no thread panics").next();
                    let Some(site) = site else { return };
                    if let Err(why) = hold(&site) {
                        failed.lock().expect("no thread panics").push(why);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no thread panics");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The sites, with certificates where they name some.
fn with_certificates(folder: &std::path::Path) -> std::path::PathBuf {
    let (sites, own) = (folder.join("sites"), folder.join("ssl"));
    std::fs::create_dir_all(sites.join("snippets")).expect("it is writable");
    std::fs::create_dir_all(&own).expect("it is writable");
    let given = binaries::repository().join("nginx-compat/tests/sites");
    let own = own.display().to_string();
    for file in ["", "snippets"].iter().flat_map(|under| {
        let files = std::fs::read_dir(given.join(under)).expect("the sites are there");
        files.map(|file| file.expect("the sites are there").path()).filter(|path| path.is_file())
    }) {
        let text = std::fs::read_to_string(&file).expect("text");
        let name = file.strip_prefix(&given).expect("below the sites");
        std::fs::write(sites.join(name), text.replace("/etc/ssl", &own)).expect("it is writable");
    }
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=machines.example"])
        .args(["-keyout", "machines.key", "-out", "machines.pem"])
        .current_dir(&own)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::copy(format!("{own}/machines.pem"), format!("{own}/ca.pem")).expect("it is writable");
    sites
}

fn hold(site: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let yaml = folder.path().join("proxy.yaml");
    let sites = with_certificates(folder.path());
    let converted = binaries::command("forebay-nginx")
        .current_dir(&sites)
        .args(["convert", "--partial", site, "-o"])
        .arg(&yaml)
        .output()
        .expect("forebay-nginx runs");
    let said = String::from_utf8_lossy(&converted.stderr);
    if !converted.status.success() {
        return Err(format!("{site} is not converted: {said}"));
    }
    let checked = binaries::command("forebay-proxy").arg("check").arg(&yaml).output();
    let checked = checked.expect("forebay-proxy runs");
    if !checked.status.success() {
        return Err(format!("{site} does not load: {}", String::from_utf8_lossy(&checked.stderr)));
    }
    let (output, account) = replay(&sites.join(site).display().to_string(), &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    // What speaks HTTP/2 is asked by it, and nothing else.
    let text = std::fs::read_to_string(sites.join(site)).expect("it was written");
    let over_http2 = account["over_http2"].as_u64() > Some(0);
    if over_http2 != text.contains(" http2;") {
        return Err(format!("{site} is asked by other protocols than it speaks: {account:#}"));
    }
    if account["unexplained"] != 0 || account["requests"].as_u64() < Some(10) {
        return Err(format!("{site}: {said}\n{account:#}"));
    }
    Ok(())
}

#[test]
fn a_log_is_asked_as_it_was_and_a_proxy_that_is_none_is_said() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("access.log");
    let line =
        "192.0.2.1 - - [27/Nov/2026:10:00:00 +0000] \"GET /a?b=1 HTTP/1.1\" 200 12 \"-\" \"x\"\n";
    std::fs::write(&log, line.repeat(3) + "no request\n").expect("it is writable");
    let log = log.to_str().expect("a plain path");
    let arguments = ["--log", log, "--host", "app.example"];
    let (output, account) = replay("simple-proxy.conf", &arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((&account["requests"], &account["unexplained"]), (&3.into(), &0.into()), "{said}");
    assert!(said.contains("1 lines hold no request"), "{said}");

    let (output, _) = replay("simple-proxy.conf", &["--forebay-proxy", "/bin/false"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("forebay-proxy did not start"), "{said}");
}

/// Links that were signed: those that are right, late and wrong are told apart as nginx tells them apart.
#[test]
fn signed_links_are_worth_what_they_are_worth_to_nginx() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut lines = String::new();
    // printf 'TIME/video/a.txt forebay' | openssl md5 -binary | openssl base64 | tr +/ -_ | tr -d =
    for target in [
        "/video/a.txt?md5=yWtfg9FEcq6I0p9FD-B3gw&expires=4102444800",
        "/video/a.txt?md5=yWtfg9FEcq6I0p9FD-B3gw==&expires=4102444800",
        "/video/a.txt?expires=4102444800&md5=yWtfg9FEcq6I0p9FD-B3gA",
        "/video/%61.txt?md5=yWtfg9FEcq6I0p9FD-B3gw&expires=4102444800",
        "/video/a.txt?md5=eD61MeHsuXc6YDT1Dxkccw&expires=1",
        "/video/a.txt?md5=eD61MeHsuXc6YDT1Dxkccw&expires=01",
        "/video/a.txt?md5=yWtfg9FEcq6I0p9FD-B3gw&expires=4102444800x",
        "/video/a.txt?md5=yWtfg9FEcq6I0p9FD-B3gw",
        "/p/dd49e4ae5742329a73b6f3b596deb2e4/a.txt",
        "/p/dd49e4ae5742329a73b6f3b596deb2e4/b.txt",
        "/signed/?sum=WSITXfUmktvurAZekaQd2A",
    ] {
        let line = format!("- - - [27/Nov/2026:10:00:00 +0000] \"GET {target} HTTP/1.1\" 200 1\n");
        lines.push_str(&line);
    }
    let log = folder.path().join("access.log");
    std::fs::write(&log, lines).expect("it is writable");
    let arguments = ["--log", log.to_str().expect("a plain path"), "--host", "files.example"];
    let (output, account) = replay("../sites/members.conf", &arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (&account["requests"], &account["unexplained"]),
        (&11.into(), &0.into()),
        "{said}\n{account:#}"
    );
}

#[test]
fn a_server_that_answers_otherwise_is_found_out() {
    // nginx serves another file than the one that is translated: the comparison must see it.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wrapper = folder.path().join("nginx");
    let script = "#!/bin/sh\nsed -i 's/proxy_set_header Host/proxy_set_header X-Was-Host/' \"$4\"\n\
                  for n in /usr/sbin/nginx nginx; do command -v $n >/dev/null && exec $n \"$@\"; done\n";
    std::fs::write(&wrapper, script).expect("it is writable");
    Command::new("chmod").arg("+x").arg(&wrapper).status().expect("chmod");
    let wrapper = wrapper.to_str().expect("a plain path");
    let output = binaries::command("forebay-nginx")
        .current_dir(binaries::repository().join("nginx-compat/tests/samples"))
        .args(["replay", "simple-proxy.conf", "-o", "json", "--nginx", wrapper])
        .output()
        .expect("forebay-nginx runs");
    let account: Value = serde_json::from_slice(&output.stdout).expect("an account");
    assert_eq!(output.status.code(), Some(1), "{account:#}");
    let causes = account["causes"].as_array().expect("causes");
    for cause in ["host to the upstream", "x-was-host to the upstream"] {
        let found = causes.iter().find(|found| found["cause"] == cause);
        assert!(found.is_some_and(|found| found["stated"].is_null()), "{cause}: {account:#}");
    }
    assert_eq!(account["unexplained"], account["requests"], "{account:#}");
}
