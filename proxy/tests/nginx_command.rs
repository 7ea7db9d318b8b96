//! The proxy called as nginx is: files, signals and words.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

mod hooks;

use crate::client::{Client, Response};
use crate::harness::{BINARY, eventually, free_port};
use crate::origin::Origin;

/// A folder with a configuration, and a link to the program under nginx's name.
struct Nginx {
    dir: tempfile::TempDir,
    address: SocketAddr,
    child: Option<Child>,
}

impl Nginx {
    /// `main` stands in the main context, `location` in the one location.
    fn with(main: &str, location: &str) -> Nginx {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(BINARY, dir.path().join("nginx")).unwrap();
        // nginx listens on no port 0.
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let nginx = Nginx { dir, address, child: None };
        nginx.configure(main, location);
        nginx
    }

    fn before(origin: &Origin, main: &str) -> Nginx {
        Nginx::with(main, &format!("proxy_pass http://{};", origin.address))
    }

    fn configure(&self, main: &str, location: &str) {
        let text = format!(
            "{main}\npid nginx.pid;\nerror_log error.log notice;\nevents {{ }}\nhttp {{\n\
             access_log {log};\nserver {{\nlisten {address};\nlocation / {{ {location} }}\n}}\n}}\n",
            log = self.path("access.log").display(),
            address = self.address,
        );
        fs::write(self.path("nginx.conf"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("nginx"));
        let prefix = format!("{}/", self.dir.path().display());
        command.args(["-p", &prefix, "-c", "nginx.conf", "-e", "early.log"]).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }

    /// Starts it in the foreground and waits for its pid file.
    fn start(&mut self) {
        let stderr = fs::File::create(self.path("stderr")).unwrap();
        let child =
            self.command(&["-g", "daemon off;"]).stdin(Stdio::null()).stderr(stderr).spawn();
        self.child = Some(child.unwrap());
        let pid =
            eventually("a pid file", || Some(self.read("nginx.pid")).filter(|t| !t.is_empty()));
        assert_eq!(
            pid,
            format!("{}\n", self.child.as_ref().unwrap().id()),
            "whole when it is there"
        );
    }

    fn pid(&self) -> Option<Pid> {
        self.read("nginx.pid").trim().parse().ok().and_then(Pid::from_raw)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid().unwrap(), signal).unwrap();
    }

    fn get(&self, path: &str) -> Response {
        Client::to(self.address).ask(&format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"))
    }

    fn says(&self, file: &str, text: &str) {
        eventually(text, || self.read(file).contains(text).then_some(()));
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        } else if let Some(pid) = self.pid() {
            // One behind the test, which nobody ended.
            let _ = kill_process(pid, Signal::KILL);
        }
        if std::thread::panicking() {
            eprintln!("stderr: {}\nerror.log: {}", self.read("stderr"), self.read("error.log"));
        }
    }
}

#[test]
fn signals_mean_what_they_mean_to_nginx() {
    let (old, new) = (Origin::saying("old"), Origin::saying("new"));
    let mut nginx = Nginx::before(&old, "");
    nginx.start();
    assert_eq!(nginx.get("/").text(), "old");

    nginx.configure("", &format!("proxy_pass http://{};", new.address));
    nginx.signal(Signal::HUP);
    eventually("the new origin", || (nginx.get("/").text() == "new").then_some(()));
    nginx.says("error.log", "reconfiguring");

    nginx.configure("nonsense on;", "");
    nginx.signal(Signal::HUP);
    nginx.says("error.log", "unknown directive \"nonsense\"");
    assert_eq!(nginx.get("/").text(), "new", "what is wrong changes nothing");

    for name in ["error.log", "access.log"] {
        fs::rename(nginx.path(name), nginx.path(&format!("{name}.1"))).unwrap();
    }
    nginx.signal(Signal::USR1);
    nginx.says("error.log", "log files reopened");
    assert_eq!(nginx.get("/late").status, 200);
    nginx.says("access.log", "/late");
    assert!(!nginx.read("access.log.1").contains("/late"));

    let mut idle = Client::to(nginx.address);
    assert_eq!(idle.ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    nginx.signal(Signal::QUIT);
    let mut child = nginx.child.take().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(idle.is_closed());
    assert!(!nginx.path("nginx.pid").exists());
    let line = nginx.read("error.log").lines().next().unwrap_or_default().to_owned();
    let form = r"^\d{4}(/\d\d){2} \d\d(:\d\d){2} \[notice\] \d+#\d+: ";
    let form = form.parse::<proxy_config::pattern::Regex>().unwrap().compile().unwrap();
    assert!(form.is_match(&line), "{line}");
}

#[test]
fn a_wrong_configuration_is_told_as_nginx_tells_it() {
    let nginx = Nginx::with("worker_processes 1 2;", "listen 80;\nproxy_pass http://127.0.0.1:9;");
    let (code, _, err) = nginx.run(&[]);
    let file = nginx.path("nginx.conf").display().to_string();
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(code, Some(1));
    assert_eq!(
        lines,
        [
            format!(
                "nginx: [emerg] invalid number of arguments in \"worker_processes\" directive in {file}:1"
            ),
            format!("nginx: [emerg] \"listen\" directive is not allowed here in {file}:9"),
        ]
    );
    assert!(!nginx.path("nginx.pid").exists());
    assert!(nginx.read("early.log").contains("[emerg]"), "{}", nginx.read("early.log"));

    let (code, _, err) =
        Nginx::with("", "random_index on; proxy_pass http://127.0.0.1:9;").run(&["-t"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("nginx: [emerg] \"random_index\" cannot be kept: "), "{err}");
    assert!(err.contains("nginx.conf:9\n") && err.ends_with("nginx.conf test failed\n"), "{err}");

    let (code, _, err) = nginx.run(&["-c", "nowhere.conf", "-t"]);
    assert_eq!(code, Some(1));
    let reason = "/nowhere.conf\" failed (2: No such file or directory)\n";
    assert!(err.contains("nginx: [emerg] open() \"") && err.contains(reason), "{err}");
}

#[test]
fn a_test_says_so_and_a_dump_has_every_file_once() {
    let nginx =
        Nginx::with("include more.conf;\ninclude more.conf;", "proxy_pass http://127.0.0.1:9;");
    fs::write(nginx.path("more.conf"), "worker_rlimit_nofile 9;# café\n").unwrap();
    let file = nginx.path("nginx.conf").display().to_string();
    let ok = format!(
        "nginx: the configuration file {file} syntax is ok\n\
         nginx: configuration file {file} test is successful\n"
    );
    assert_eq!(nginx.run(&["-t"]), (Some(0), String::new(), ok.clone()));
    assert_eq!(nginx.run(&["-t", "-q"]), (Some(0), String::new(), String::new()));
    let more = nginx.path("more.conf").display().to_string();
    let dump = format!(
        "# configuration file {file}:\n{}\n# configuration file {more}:\n{}\n",
        nginx.read("nginx.conf"),
        nginx.read("more.conf")
    );
    assert_eq!(nginx.run(&["-T"]), (Some(0), dump, ok));
    assert!(!nginx.path("nginx.pid").exists());
    let (code, _, err) = nginx.run(&["-V"]);
    assert_eq!(code, Some(0));
    assert!(err.starts_with("nginx version: nginx/") && err.contains("configure arguments: "));
    assert_eq!(
        nginx.run(&["-x"]),
        (Some(1), String::new(), "nginx: invalid option: \"x\"\n".into())
    );
}

#[test]
fn a_daemon_serves_when_its_caller_returns_and_obeys_s() {
    let origin = Origin::saying("ok");
    let nginx = Nginx::before(&origin, "");
    let (code, _, err) = nginx.run(&["-s", "stop"]);
    assert_eq!(code, Some(1));
    let reason = "nginx: [error] open() \"nginx.pid\" failed (2: No such file or directory)\n";
    assert_eq!(err, reason);

    assert_eq!(nginx.run(&[]), (Some(0), String::new(), String::new()));
    assert_eq!(nginx.get("/").text(), "ok");
    let (code, _, err) = nginx.run(&[]);
    assert_eq!(code, Some(1), "the port is taken");
    let fault = format!("nginx: [emerg] bind() to {} failed (", nginx.address);
    assert!(err.contains(&fault), "{err}");
    assert_eq!(nginx.get("/").text(), "ok");

    nginx.configure("", "random_index on;");
    assert_eq!(nginx.run(&["-s", "reload"]).0, Some(1), "what is wrong is not even asked for");
    nginx.configure("", &format!("proxy_pass http://{};", origin.address));
    assert_eq!(nginx.run(&["-s", "reload"]), (Some(0), String::new(), String::new()));
    nginx.says("error.log", "reloaded");
    assert_eq!(nginx.run(&["-s", "quit"]).0, Some(0));
    eventually("the pid file to go", || (!nginx.path("nginx.pid").exists()).then_some(()));

    // Names on the command line begin where it was called.
    let folder = nginx.dir.path();
    let mut command = Command::new(nginx.path("nginx"));
    command.current_dir(folder.parent().unwrap()).arg("-p").arg(folder.file_name().unwrap());
    assert!(command.args(["-c", "nginx.conf", "-e", "early.log"]).status().unwrap().success());
    assert_eq!(nginx.get("/").text(), "ok");
}

#[test]
fn old_clients_error_pages_and_logs_are_as_nginx_has_them() {
    let origin = Origin::saying("ok");
    let mut nginx = Nginx::before(&origin, "");
    let text = format!(
        "pid nginx.pid;\nerror_log error.log notice;\nevents {{ }}\nhttp {{\n\
         log_format mine '$request_method $uri $status \"$http_user_agent\" $body_bytes_sent $nonsense';\n\
         access_log all.log;\nserver {{\nlisten {address};\n\
         location / {{ proxy_pass http://{origin}; }}\n\
         location /own {{ access_log own.log mine if=$arg_log; proxy_pass http://{origin}; }}\n\
         location /quiet {{ access_log off; proxy_pass http://{origin}; }}\n}}\n}}\n",
        address = nginx.address,
        origin = origin.address,
    );
    fs::write(nginx.path("nginx.conf"), text).unwrap();
    nginx.start();
    let ask = |line: &str| {
        Client::to(nginx.address)
            .ask(&format!("{line} HTTP/1.0\nHost: localhost\nUser-Agent: a\"b\n\n"))
    };
    for path in ["/quiet", "/own", "/own?log=1", "/rest"] {
        assert_eq!(ask(&format!("GET {path}")).text(), "ok", "lines end in LF alone");
    }
    let refused = ask("TRACE /");
    assert_eq!((refused.status, refused.header("content-type")), (405, Some("text/html")));
    assert!(refused.text().contains("<h1>405 Not Allowed</h1>"), "{}", refused.text());
    nginx.says("all.log", "\"GET /rest HTTP/1.0\" 200 2 \"-\" \"a\\x22b\"");
    nginx.says("own.log", "GET /own 200 \"a\\x22b\" 2 -\n");
    assert_eq!(nginx.read("own.log").lines().count(), 1);
    let all = nginx.read("all.log");
    assert!(!all.contains("/quiet") && !all.contains("/own"), "{all}");
}

#[test]
fn links_signed_for_nginx_are_good_until_their_time() {
    let mut nginx = Nginx::with("", "return 404;");
    fs::create_dir_all(nginx.path("v")).unwrap();
    fs::create_dir_all(nginx.path("kept")).unwrap();
    fs::write(nginx.path("v/a.txt"), "signed").unwrap();
    fs::write(nginx.path("kept/a.txt"), "kept").unwrap();
    let text = format!(
        "pid nginx.pid;\nerror_log error.log notice;\nevents {{ }}\nhttp {{\naccess_log off;\n\
         server {{\nlisten {address};\nroot {dir};\n\
         location /v/ {{\n secure_link $arg_md5,$arg_expires;\n\
         secure_link_md5 \"$secure_link_expires$uri secret\";\n\
         if ($secure_link = \"\") {{ return 403; }}\nif ($secure_link = \"0\") {{ return 410; }}\n\
         add_header X-Until $secure_link_expires;\n}}\n\
         location /p/ {{\nsecure_link_secret secret;\nif ($secure_link = \"\") {{ return 403; }}\n\
         rewrite ^ /kept/$secure_link;\n}}\nlocation /kept/ {{ internal; }}\n}}\n}}\n",
        address = nginx.address,
        dir = nginx.dir.path().display(),
    );
    fs::write(nginx.path("nginx.conf"), text).unwrap();
    nginx.start();
    // printf '4102444800/v/a.txt secret' | openssl md5 -binary | openssl base64 | tr +/ -_ | tr -d =
    let good = nginx.get("/v/a.txt?md5=R5knK2IUH5rHvx7nKHIz7w&expires=4102444800");
    assert_eq!((good.status, good.text().as_str()), (200, "signed"));
    assert_eq!(good.header("x-until"), Some("4102444800"));
    let escaped = nginx.get("/v/%61.txt?md5=R5knK2IUH5rHvx7nKHIz7w&expires=4102444800");
    assert_eq!(escaped.status, 200, "the path is hashed without escapes");
    // The same for the time 1.
    assert_eq!(nginx.get("/v/a.txt?md5=vd2P4hmha3SY3cQjnTP_JQ&expires=1").status, 410);
    for wrong in [
        "/v/a.txt",
        "/v/a.txt?md5=R5knK2IUH5rHvx7nKHIz7w",
        "/v/a.txt?md5=R5knK2IUH5rHvx7nKHIz7w&expires=4102444801",
        "/v/b.txt?md5=R5knK2IUH5rHvx7nKHIz7w&expires=4102444800",
        "/p/e52ca7f8e40eb985172c50d25ee3e208/a.txt",
    ] {
        assert_eq!(nginx.get(wrong).status, 403, "{wrong}");
    }
    // printf 'a.txtsecret' | md5sum
    assert_eq!(nginx.get("/p/e52ca7f8e40eb985172c50d25ee3e207/a.txt").text(), "kept");
    assert_eq!(nginx.get("/kept/a.txt").status, 404);
}

#[test]
fn figures_are_told_in_nginxs_words() {
    let origin = Origin::saying("ok");
    let mut nginx = Nginx::before(&origin, "");
    let text = format!(
        "pid nginx.pid;\nerror_log error.log notice;\nevents {{ }}\nhttp {{\naccess_log off;\n\
         server {{\nlisten {address};\nlocation = /status {{ stub_status; }}\n\
         location / {{ proxy_pass http://{origin}; }}\n}}\n}}\n",
        address = nginx.address,
        origin = origin.address,
    );
    fs::write(nginx.path("nginx.conf"), text).unwrap();
    nginx.start();
    let mut waiting = Client::to(nginx.address);
    for _ in 0..3 {
        assert_eq!(waiting.ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").text(), "ok");
    }
    let of = |text: &str| -> Vec<u64> {
        text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    // What the other requests held is given back a moment after their answers.
    let page = eventually("three requests, one connection waiting", || {
        let page = nginx.get("/status");
        let [active, _, _, requests, .., waiting] = of(&page.text())[..] else { return None };
        (active == 2 && requests >= 4 && waiting == 1).then_some(page)
    });
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/plain")));
    let figures = of(&page.text());
    let [active, accepted, handled, requests, reading, writing, waiting] = figures[..] else {
        panic!("{}", page.text());
    };
    assert_eq!(
        page.text(),
        format!(
            "Active connections: {active} \nserver accepts handled requests\n \
             {accepted} {handled} {requests} \nReading: {reading} Writing: {writing} Waiting: {waiting} \n"
        )
    );
    assert!(accepted >= 2 && handled == accepted && (reading, writing) == (0, 1), "{figures:?}");
    let post = Client::to(nginx.address)
        .ask("POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(post.status, 405);
}
