//! A chat by Socket.IO's own server and clients, as browsers hold it: polled first, then upgraded to a WebSocket.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Proxy, to};

/// A script of `tests/chat`, spoken with by lines; stopped when dropped.
struct Script {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn start(name: &str, arguments: &[String]) -> Script {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/chat");
        let mut command = Command::new("node");
        command.arg(name).args(arguments).current_dir(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Script { child, input, output: BufReader::new(output).lines() }
    }

    fn line(&mut self) -> String {
        self.output.next().expect("the script goes on").unwrap()
    }

    /// Has every member say this; says what they heard and how they are connected.
    fn say(&mut self, text: &str) -> Value {
        writeln!(self.input, "{text}").unwrap();
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server() -> (Script, SocketAddr) {
    let mut script = Script::start("server.mjs", &[]);
    let port = script.line().parse().unwrap();
    (script, SocketAddr::from(([127, 0, 0, 1], port)))
}

fn members(proxy: &Proxy) -> Script {
    Script::start("members.mjs", &[format!("http://{}", proxy.public)])
}

#[test]
fn a_room_talks_on_through_a_reload() {
    let (_server, address) = server();
    let proxy = Proxy::before(&[address]);
    let mut members = members(&proxy);
    let before = members.say("before");
    assert_eq!(before["heard"], json!([3, 3, 3]));
    assert_eq!(before["polled"], json!([true, true, false]));
    assert_eq!(before["transports"], json!(["websocket", "websocket", "websocket"]));
    proxy.rewrite(&format!("{}\nshutdown: {{ drain: 1s }}", to(&[address])));
    assert!(proxy.reload());
    let after = members.say("after");
    assert_eq!(after, before, "the same members on the same connections");
    assert_eq!(proxy.metric("forebay_proxy_tunnels{lane=\"interactive\",route=\"all\"}"), 3.0);
}

#[test]
fn members_stay_with_the_server_they_were_given() {
    let servers = [server(), server()];
    let list: Vec<_> =
        servers.iter().map(|(_, address)| format!("{{ address: '{address}' }}")).collect();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {} ], sticky: {{ cookie: chat }} }} }}\nroutes: [ {{ name: all, upstream: u }} ]",
        list.join(", ")
    ));
    let mut members = members(&proxy);
    let said = members.say("hello");
    assert_eq!(said["heard"], said["rooms"], "each heard all of its server's");
    assert_eq!(said["polled"], json!([true, true, false]), "{said}");
    assert_eq!(said["transports"], json!(["websocket", "websocket", "websocket"]));
}
