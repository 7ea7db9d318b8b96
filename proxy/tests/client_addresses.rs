use crate::harness::{Proxy, to};
use crate::origin::Origin;

const BELIEVES: &str = ", client_address_header: x-forwarded-for, trusted_proxies";

fn ask(proxy: &Proxy, path: &str, list: &str) -> u16 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {list}\r\n\r\n");
    proxy.client().ask(&request).status
}

#[test]
fn trusted_proxies_say_who_the_client_is() {
    let origin = Origin::saying("ok");
    let limited =
        to(&[origin.address]).replace("upstream: u }", "upstream: u, rate_limits: [ l ] }");
    let proxy = Proxy::with_listener(
        &format!("{BELIEVES}: [ 127.0.0.0/8, 10.0.0.0/8 ]"),
        &format!("{limited}\nrate_limits: {{ l: {{ key: [ client ], rate: 1/h }} }}"),
    );
    assert_eq!(ask(&proxy, "/1", "203.0.113.1, 198.51.100.7, 10.0.0.2"), 200);
    assert_eq!(proxy.log_of("/1")["client"], "198.51.100.7");
    assert_eq!(
        ask(&proxy, "/2", "203.0.113.2, 198.51.100.7"),
        429,
        "made-up entries change nothing"
    );
    assert_eq!(ask(&proxy, "/3", "198.51.100.8"), 200, "another client has its own limit");
    let head = origin.heads().remove(0);
    let passed_on = "x-forwarded-for: 203.0.113.1, 198.51.100.7, 10.0.0.2, 127.0.0.1\r\n";
    assert!(head.to_ascii_lowercase().contains(passed_on), "{head}");
}

#[test]
fn others_are_not_believed_and_a_reload_changes_whom_to_believe() {
    let origin = Origin::saying("ok");
    let proxy =
        Proxy::with_listener(&format!("{BELIEVES}: [ 10.0.0.0/8 ]"), &to(&[origin.address]));
    assert_eq!(ask(&proxy, "/1", "198.51.100.7"), 200);
    assert_eq!(proxy.log_of("/1")["client"], "127.0.0.1");
    let head = std::fs::read_to_string(proxy.path("head.yaml")).unwrap();
    std::fs::write(proxy.path("head.yaml"), head.replace("10.0.0.0/8", "127.0.0.1")).unwrap();
    proxy.rewrite(&to(&[origin.address]));
    assert!(proxy.reload());
    assert_eq!(ask(&proxy, "/2", "198.51.100.7"), 200);
    assert_eq!(proxy.log_of("/2")["client"], "198.51.100.7");
}
