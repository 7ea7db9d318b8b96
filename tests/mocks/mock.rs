//! A mock that runs, an environment of its own, and questions to services.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use system_tests::binaries::{self, repository};
use system_tests::ports;

use crate::between::{Between, Kind};

pub const ACCOUNT: &str = "123456789012";
/// The bucket of releases of the shipped environments.
pub const RELEASES: &str = "acme-forebay-releases";

/// Both take the access key for the account it belongs to.
const CREDENTIALS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", ACCOUNT), ("AWS_SECRET_ACCESS_KEY", "test")];

/// Asks services through AWS's own client, line by line: a question is `[service, operation,
/// arguments]`, an answer what the operation gives, or `{"error": …}`.
const ASK: &str = "
import sys, json, boto3
endpoint, region = sys.argv[1:]
clients = {}
for line in sys.stdin:
    service, operation, arguments = json.loads(line)
    if service not in clients:
        clients[service] = boto3.client(service, region_name=region, endpoint_url=endpoint)
    try:
        answer = getattr(clients[service], operation)(**arguments)
    except Exception as error:
        answer = {'error': str(error)}
    print(json.dumps(answer, default=str), flush=True)
";

/// A program of the judges' environment, as `tools/install.sh test` installs it.
fn program(name: &str) -> PathBuf {
    let binaries = binaries::folder();
    let mut folders = binaries.ancestors();
    let found =
        folders.find_map(|it| Some(it.join("judges/bin").join(name)).filter(|it| it.exists()));
    found.unwrap_or_else(|| panic!("judges/bin/{name} is installed by `tools/install.sh test`"))
}

/// AWS's own client, running.
struct Client {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Client {
    fn of(endpoint: &str, region: &str) -> Client {
        let mut command = Command::new(program("python"));
        command.args(["-c", ASK, endpoint, region]).envs(CREDENTIALS);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        let questions = process.stdin.take().expect("it listens");
        let answers = BufReader::new(process.stdout.take().expect("it answers"));
        Client { process, questions, answers }
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.questions, "{question}").expect("it listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).expect("answers are JSON")
    }
}

/// A mock, an environment that extends a shipped one, and a release.
pub struct Stage {
    server: Child,
    client: RefCell<Client>,
    between: Between,
    folder: tempfile::TempDir,
    base: String,
    /// The zone that is there: the mock names it.
    zone: String,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for process in [&mut self.server, &mut self.client.get_mut().process] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Stage {
    pub fn of(kind: Kind, base: &str, region: &str) -> Stage {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [address] = ports::free();
        let endpoint = format!("http://{address}");
        let mut stage = Stage {
            server: serve(kind, address, folder.path(), region),
            client: Client::of(&endpoint, region).into(),
            between: Between::start(kind, endpoint.clone()),
            folder,
            base: base.to_owned(),
            zone: "Z0123456789ABCDEFGHIJ".to_owned(),
        };
        wait(address);
        for binary in ["forebay-proxy", "forebay-ledger"] {
            fs::write(stage.folder.path().join(binary), binary).expect("it is writable");
        }
        if kind == Kind::Ministack {
            let zone = json!({ "Name": "example.com", "CallerReference": "one" });
            let zone = stage.ask("route53", "create_hosted_zone", zone);
            let id = zone["HostedZone"]["Id"].as_str().and_then(|id| id.rsplit('/').next());
            stage.zone = id.unwrap_or_else(|| panic!("no zone: {zone}")).to_owned();
        }
        let bucket = json!({
            "Bucket": RELEASES,
            "CreateBucketConfiguration": { "LocationConstraint": region },
        });
        let made = stage.ask("s3", "create_bucket", bucket);
        assert!(made["error"].is_null(), "{made}");
        stage.write("");
        stage
    }

    /// The environment: the shipped one in the zone that is there, and these lines over it.
    pub fn write(&self, lines: &str) {
        let base = repository().join("environments").join(format!("{}.yaml", self.base));
        let text = format!(
            "version: 1\nname: {}\nextends: {}\nedge: {{ hosted_zone: {} }}\n{lines}\n",
            self.base,
            base.display(),
            self.zone
        );
        fs::write(self.folder.path().join("forebay.yaml"), text).expect("it is writable");
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binaries::command("forebay");
        command.arg(arguments[0]).arg("forebay.yaml").args(&arguments[1..]);
        if ["deploy", "destroy", "drift", "resume"].contains(&arguments[0]) {
            command.args(["--look", "100ms"]);
        }
        command.current_dir(self.folder.path()).env("HOME", self.folder.path()).envs(CREDENTIALS);
        command.env("AWS_ENDPOINT_URL", format!("http://{}", self.between.address));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What `forebay` says and its exit code.
    pub fn forebay(&self, arguments: &[&str]) -> (String, Option<i32>) {
        said(self.command(arguments).output().expect("it runs"))
    }

    /// Deploys; everything must go well.
    pub fn deployed(&self, further: &[&str]) -> String {
        let (told, code) = self.forebay(&[&["deploy", "--yes"], further].concat());
        assert_eq!(code, Some(0), "{told}");
        told
    }

    /// What a service answers.
    pub fn ask(&self, service: &str, operation: &str, arguments: Value) -> Value {
        let question = vec![service.into(), operation.into(), arguments];
        self.client.borrow_mut().ask(&Value::Array(question))
    }
}

/// What a program said and its exit code, without the hundred lines of what is made first.
pub fn said(output: Output) -> (String, Option<i32>) {
    let both = [output.stdout, output.stderr].concat();
    let both = String::from_utf8_lossy(&both).into_owned();
    let lines = both.lines().filter(|line| !line.starts_with("  + "));
    (lines.map(|line| format!("{line}\n")).collect(), output.status.code())
}

/// Of a list of objects, one member each, sorted.
pub fn each(list: &Value, member: &str) -> Vec<String> {
    let items = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    let mut texts: Vec<String> =
        items.iter().map(|it| it[member].as_str().unwrap_or_default().to_owned()).collect();
    texts.sort();
    texts
}

fn wait(address: SocketAddr) {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the mock does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn serve(kind: Kind, address: SocketAddr, folder: &Path, region: &str) -> Child {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut command = match kind {
        Kind::Moto => {
            let mut command = Command::new(program("moto_server"));
            command.args(["-H", &host, "-p", &port]);
            command
        }
        Kind::Ministack => {
            let mut command = Command::new(program("ministack"));
            command.env("BIND_HOST", host).env("GATEWAY_PORT", port);
            command.env("MINISTACK_REGION", region).env("S3_DATA_DIR", folder.join("s3"));
            // Ports of its own that nobody here asks for.
            command.env("IOT_MTLS_ENABLED", "0").env("SFTP_ENABLED", "0");
            command
        }
    };
    let log = fs::File::create(folder.join("mock.log")).expect("it is writable");
    command.current_dir(folder).env("TMPDIR", folder).env("MOTO_ACCOUNT_ID", ACCOUNT);
    command.env("MINISTACK_ACCOUNT_ID", ACCOUNT).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a handle")).stderr(log);
    command.spawn().expect("it starts")
}
