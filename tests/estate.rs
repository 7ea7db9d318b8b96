//! The estate on AWS, seen offline: AWS's own linter has nothing to say of any shipped environment,
//! and what the instances are given is what the programs take.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use system_tests::binaries::{self, repository};

/// Those of `environments/` that have an `aws` section, and those that are there for tests, each with its
/// templates in a folder.
fn estates(folder: &Path) -> Vec<PathBuf> {
    let mut made = Vec::new();
    let of = |name: &str| std::fs::read_dir(repository().join(name)).expect("it is there");
    for entry in of("environments").chain(of("stack/tests/estates")) {
        let path = entry.expect("it is readable").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let target = folder.join(path.file_stem().expect("it has a name"));
        let output = binaries::command("forebay")
            .arg("synth")
            .arg(&path)
            .arg("-o")
            .arg(&target)
            .output()
            .expect("it runs");
        if output.status.success() {
            made.push(target);
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("has no `aws` section"), "{}: {said}", path.display());
        }
    }
    assert!(made.len() >= 2, "production and staging at least");
    made
}

fn template(folder: &Path, stack: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(format!("{stack}.json"))).expect("it is there");
    serde_json::from_str(&text).expect("it is JSON")
}

/// A file of an instance, as cfn-init would write it.
fn instance_file(template: &Value, launch_template: &str, path: &str) -> String {
    let metadata = &template["Resources"][launch_template]["Metadata"];
    let files = &metadata["AWS::CloudFormation::Init"]["config"]["files"];
    let lines = files[path]["content"]["Fn::Join"][1].as_array().expect("a file of lines");
    let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
    lines.join("\n")
}

/// A program of a judge, as `tools/install.sh test` installs it beside what cargo builds.
fn judge(path: &str) -> PathBuf {
    let binaries = binaries::folder();
    let mut folders = binaries.ancestors();
    let judge = folders.find_map(|folder| Some(folder.join(path)).filter(|judge| judge.exists()));
    judge.unwrap_or_else(|| panic!("{path} is installed by `tools/install.sh test`"))
}

/// The templates of an estate's folder.
fn templates(estate: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(estate).expect("it is there");
    let paths = entries.map(|entry| entry.expect("it is readable").path());
    paths.filter(|path| !path.ends_with("stacks.json")).collect()
}

/// What a judge says must be nothing.
fn nothing_to_say(mut judge: Command) {
    let output = judge.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    let first: String = said.chars().take(4_000).collect();
    assert!(output.status.success(), "{first}\n{wrong}");
}

#[test]
fn the_linter_has_nothing_to_say() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut lint = Command::new(judge("judges/bin/cfn-lint"));
    lint.args(["--region", "eu-central-1", "--"]);
    for estate in estates(folder.path()) {
        lint.args(templates(&estate));
    }
    nothing_to_say(lint);
}

/// AWS's own validation: whatever is graver than a remark.
#[test]
fn awss_own_validation_has_nothing_to_say() {
    const SCRIPT: &str = "
import sys
from cloudformation_validate import RegoEngine
engine = RegoEngine()
found = 0
for path in sys.argv[1:]:
    for it in engine.validate_template(path).diagnostics:
        if it.severity.name != 'INFO':
            found += 1
            print(path, it.severity.name, it.rule_id, it.entity, it.message)
sys.exit(1 if found else 0)
";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut validate = Command::new(judge("judges/bin/python"));
    validate.args(["-c", SCRIPT]);
    for estate in estates(folder.path()) {
        validate.args(templates(&estate));
    }
    nothing_to_say(validate);
}

/// Rules that are declined are so in the templates' metadata, each with its reason; decision 0040 has
/// them all.
#[test]
fn checkov_has_nothing_to_say() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    estates(folder.path());
    let mut checkov = Command::new(judge("checkov/bin/checkov"));
    checkov.args(["--framework", "cloudformation", "--compact", "--quiet"]);
    // Nothing is asked of anybody's server.
    checkov.args(["--skip-download", "--directory"]).arg(folder.path());
    checkov.env("LOG_LEVEL", "ERROR");
    nothing_to_say(checkov);
    let decision = repository().join("docs/decisions/0040-rules-of-checkov-that-are-declined.md");
    let decision = std::fs::read_to_string(decision).expect("it is there");
    let mut declined = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder.path()).expect("it is there") {
        for path in templates(&entry.expect("it is readable").path()) {
            let text = std::fs::read_to_string(path).expect("it is readable");
            let ids = text.split("\"CKV").skip(1).filter_map(|rest| rest.split('"').next());
            declined.extend(ids.map(|id| format!("CKV{id}")));
        }
    }
    assert!(declined.len() > 5, "{declined:?}");
    for id in &declined {
        assert!(decision.contains(id.as_str()), "decision 0040 does not argue {id}");
    }
}

/// A certificate and its key, as an instance reads them out of a secret.
fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=live.example.com"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(folder)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn what_an_edge_instance_is_given_the_proxy_takes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for estate in estates(folder.path()) {
        let edge = template(&estate, "edge");
        let document = instance_file(&edge, "EdgeLaunchTemplate", "/etc/forebay/proxy.yaml");
        let own = format!("{}/", folder.path().display());
        certificate(folder.path());
        let document =
            document.replace("/run/forebay-proxy/", &own).replace("/var/log/forebay/", &own);
        let path = estate.join("proxy.yaml");
        std::fs::write(&path, &document).expect("it is writable");
        let output = binaries::command("forebay-proxy").arg("check").arg(&path).output();
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}\n{document}", estate.display());
        let name = estate.file_name().and_then(|name| name.to_str()).expect("a name");
        let internal = format!(".{name}.internal:");
        assert!(document.contains(&internal), "{document}");
        assert!(!document.contains("127.0.0.1"), "an address of one machine: {document}");
    }
}

#[test]
fn the_scripts_of_an_instance_are_scripts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    estates(folder.path());
    let edge = |path| ("edge", "EdgeLaunchTemplate", path);
    let ledger = |path| ("app", "LedgerLaunchTemplate", path);
    let cases = [
        ("production", edge("/usr/local/sbin/forebay-fetch")),
        ("production", ledger("/usr/local/sbin/forebay-fetch")),
        ("isolated", ledger("/usr/local/sbin/forebay-fetch")),
        ("production", ledger("/usr/local/sbin/ledger-database")),
        ("production", edge("/usr/local/sbin/proxy-cache")),
        ("passthrough", edge("/usr/local/sbin/proxy-certificate")),
        ("passthrough", edge("/usr/local/sbin/proxy-refresh")),
    ];
    for (estate, (stack, launch_template, path)) in cases {
        let estate = &folder.path().join(estate);
        let script = instance_file(&template(estate, stack), launch_template, path);
        let file = estate.join("script.sh");
        std::fs::write(&file, &script).expect("it is writable");
        let output = Command::new("sh").arg("-n").arg(&file).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{path}: {said}\n{script}");
        assert!(script.starts_with("#!/bin/sh\n"), "{path}: {script}");
    }
    let agent = instance_file(
        &template(&folder.path().join("production"), "edge"),
        "EdgeLaunchTemplate",
        "/etc/forebay/cloudwatch-agent.json",
    );
    let agent: Value = serde_json::from_str(&agent).expect("the agent's configuration is JSON");
    assert!(agent["logs"].is_object());
}

/// The script runs as it is on an instance, but for the folders and for `aws`, which answers here.
#[test]
fn the_cache_reaches_the_proxy_by_address_and_password() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    estates(folder.path());
    let edge = template(&folder.path().join("production"), "edge");
    let file = |path: &str| instance_file(&edge, "EdgeLaunchTemplate", path);
    let at = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(at(name), text).expect("it is writable");
    write("proxy.yaml", &file("/etc/forebay/proxy.yaml"));
    write("cache.env", "HOST=cache.example.internal\nSECRET=arn:of:the:secret\n");
    write("aws", "#!/bin/sh\necho '{\"username\":\"default\",\"password\":\"s3cretS3cret\"}'\n");
    write("chown", "#!/bin/sh\n");
    for program in ["aws", "chown"] {
        let mut command = Command::new("chmod");
        assert!(command.arg("755").arg(at(program)).status().expect("it runs").success());
    }
    let script = file("/usr/local/sbin/proxy-cache")
        .replace("/run/forebay-proxy/proxy.yaml", &at("made.yaml").display().to_string())
        .replace("/etc/forebay/", &format!("{}/", folder.path().display()));
    write("script.sh", &script);
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh").arg(at("script.sh")).env("PATH", path).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = std::fs::read_to_string(at("made.yaml")).expect("it was made");
    let address = "rediss://:s3cretS3cret@cache.example.internal:6379";
    assert!(made.contains(address) && !made.contains("redis://cache:6379"), "{made}");
    let checked = binaries::command("forebay-proxy")
        .args(["check", "--elsewhere"])
        .arg(at("made.yaml"))
        .output();
    let checked = checked.expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// The same for the ledger: the file its first start reads the administrator's key from holds one it takes.
#[test]
fn the_ledger_is_given_its_database_and_its_first_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    estates(folder.path());
    let app = template(&folder.path().join("production"), "app");
    let at = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(at(name), text).expect("it is writable");
    let key = "k".repeat(43);
    write("database.env", "HOST=db.example.internal\nSECRET=arn:database\nADMIN_KEY=arn:key\n");
    write("rds-authorities.pem", "authorities");
    let answers = format!(
        "#!/bin/sh\ncase \"$*\" in *arn:key*) echo '{{\"role\":\"admin\",\"key\":\"{key}\"}}';; *) echo '{{\"username\":\"ledger\",\"password\":\"s3/cret\"}}';; esac\n"
    );
    write("aws", &answers);
    write("chown", "#!/bin/sh\n");
    for program in ["aws", "chown"] {
        let mut command = Command::new("chmod");
        assert!(command.arg("755").arg(at(program)).status().expect("it runs").success());
    }
    let here = folder.path().display().to_string();
    let script = instance_file(&app, "LedgerLaunchTemplate", "/usr/local/sbin/ledger-database")
        .replace("/run/forebay-ledger/", &format!("{here}/made-"))
        .replace("/etc/forebay/", &format!("{here}/"));
    write("script.sh", &script);
    let path = format!("{here}:{}", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh").arg(at("script.sh")).env("PATH", path).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = |name: &str| std::fs::read_to_string(at(name)).expect("it was made");
    let address = "mysql://ledger:s3%2Fcret@db.example.internal/ledger?ssl-mode=verify_identity";
    assert!(made("made-database.env").contains(address), "{}", made("made-database.env"));
    assert_eq!(made("made-admin-key"), format!("fbl_{key}\n"));
    // The ledger takes it: what it refuses is the address, which nobody answers here.
    let mut ledger = binaries::command("forebay-ledger");
    ledger.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    ledger.args(["--database", "mysql://u:p@127.0.0.1:1/d", "--first-admin-key-file"]);
    let output = ledger.arg(at("made-admin-key")).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(69) && said.contains("cannot open"), "{said}");
}

/// A filter pattern of CloudWatch's, as far as the templates use them.
fn matches(pattern: &str, line: &Value) -> bool {
    let inner = pattern.trim_start_matches('{').trim_end_matches('}');
    inner.split("&&").all(|condition| {
        let condition = condition.trim().trim_start_matches('(').trim_end_matches(')');
        let mut words = condition.splitn(3, ' ');
        let field = words.next().and_then(|word| word.strip_prefix("$.")).expect("a field");
        let (operator, wanted) =
            (words.next().expect("an operator"), words.next().expect("a value"));
        let value = &line[field];
        let number = |text: &str| text.parse::<f64>().ok().zip(value.as_f64());
        match (operator, wanted) {
            ("=", "*") => !value.is_null(),
            ("=", text) if text.starts_with('"') => value.as_str() == Some(text.trim_matches('"')),
            ("=", text) => number(text).is_some_and(|(wanted, is)| (wanted - is).abs() < 0.5),
            (">=", text) => number(text).is_some_and(|(wanted, is)| is >= wanted),
            ("<", text) => number(text).is_some_and(|(wanted, is)| is < wanted),
            other => panic!("{other:?} in {pattern}"),
        }
    })
}

/// Lines a real proxy writes: a transaction that fails, one that does not, and a request of no route.
fn log_lines(folder: &Path) -> Vec<Value> {
    let [address] = system_tests::ports::free();
    let document = format!(
        "version: 1\nlisteners: {{ public: {{ address: '{address}' }} }}\nlanes: {{ transactions: {{ requests_max: 9 }} }}\n\
         upstreams: {{ u: {{ servers: [ {{ address: '127.0.0.1:1' }} ] }} }}\naccess_log: {{ path: stdout }}\n\
         routes:\n\
         \x20 - {{ name: well, match: {{ paths: [ {{ exact: /well }} ] }}, respond: {{ status: 200 }}, lane: transactions }}\n\
         \x20 - {{ name: ill, match: {{ paths: [ {{ exact: /ill }} ] }}, upstream: u, lane: transactions }}\n"
    );
    let path = folder.join("logged.yaml");
    std::fs::write(&path, document).expect("it is writable");
    let out = std::fs::File::create(folder.join("log")).expect("it is writable");
    let mut proxy = binaries::command("forebay-proxy");
    let mut proxy = proxy.arg("run").arg(&path).stdout(out).spawn().expect("it runs");
    let begun = std::time::Instant::now();
    let mut lines = Vec::new();
    for wanted in ["/well", "/ill", "/none"] {
        while ureq::get(format!("http://{address}{wanted}"))
            .call()
            .is_err_and(|error| !matches!(error, ureq::Error::StatusCode(_)))
        {
            assert!(begun.elapsed().as_secs() < 30, "the proxy does not answer");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
    while lines.len() < 3 {
        assert!(begun.elapsed().as_secs() < 30, "three lines: {lines:?}");
        let text = std::fs::read_to_string(folder.join("log")).expect("it is readable");
        lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let _ = proxy.kill();
    let _ = proxy.wait();
    lines
}

#[test]
fn metrics_of_the_log_match_lines_the_proxy_writes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    estates(folder.path());
    let edge = template(&folder.path().join("production"), "edge");
    let lines = log_lines(folder.path());
    let counted = |name: &str| {
        let filter = &edge["Resources"][format!("{name}Metric")]["Properties"];
        let pattern = filter["FilterPattern"].as_str().expect("a pattern");
        let value = &filter["MetricTransformations"][0]["MetricValue"];
        let field = value.as_str().and_then(|value| value.strip_prefix("$."));
        let found: Vec<&Value> = lines.iter().filter(|line| matches(pattern, line)).collect();
        let whole = |line: &&Value| field.is_none_or(|field| line[field].is_number());
        assert!(found.iter().all(whole), "{value}: {lines:?}");
        found.len()
    };
    assert_eq!(counted("Requests"), 2, "{lines:?}");
    assert_eq!(counted("Failures"), 1, "{lines:?}");
    assert_eq!(counted("TransactionMilliseconds"), 1, "{lines:?}");
    assert_eq!(counted("Limited"), 0, "{lines:?}");
    let dashboard = &edge["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"][0];
    let body: Value = serde_json::from_str(dashboard.as_str().expect("text")).expect("it is JSON");
    assert_eq!(body["widgets"].as_array().map(Vec::len), Some(6));
}
