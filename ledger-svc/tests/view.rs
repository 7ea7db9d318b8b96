//! The pages for people.

use forebay_ledger::key::Role;
use quick_xml::events::Event;
use reqwest::Method;
use serde_json::json;

use crate::engine::{Engine, Server, on_every_engine};
use crate::keys::{guarded, with};
use crate::pending::id;
use crate::running::{Answer, answer, moving, open_pair};

on_every_engine!(the_books_are_shown);

/// A page as it must be: whole, of its own, and nothing in it that runs.
fn checked(page: &Answer) -> &str {
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
    assert_eq!(page.headers["cache-control"], "no-store");
    let mut reader = quick_xml::Reader::from_str(&page.body);
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error}: {}", page.body)) {
            Event::Eof => break,
            Event::Start(element) | Event::Empty(element) => {
                assert_ne!(element.name().as_ref(), b"script");
                for attribute in element.attributes() {
                    let name = attribute.unwrap().key;
                    assert!(!name.as_ref().starts_with(b"on") && name.as_ref() != b"style");
                }
            }
            _ => {}
        }
    }
    &page.body
}

async fn the_books_are_shown(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let evil = json!({"code": "eur:debit:evil", "name": "<script>alert(1)</script> & \"co\"", "currency": "EUR", "normal_balance": "debit"});
    assert_eq!(api.post("/v1/accounts", &evil).await.status, 201);
    let mut body = moving("eur:credit", "eur:debit:evil", "12.50");
    body["description"] = json!("</td><img src=x onerror=alert(1)>");
    id(&api.transfer("a", &body).await);
    for index in 0..5 {
        id(&api.transfer(&format!("b{index}"), &moving("eur:credit", "eur:debit:evil", "1")).await);
    }

    let home = api.get("/").await;
    let text = checked(&home);
    assert!(text.contains("<a href=\"./accounts/eur:debit:evil\">eur:debit:evil</a>"), "{text}");
    assert!(text.contains("<td class=\"amount\">17.50</td>"), "{text}");
    let first = api.get("/?limit=2").await;
    assert!(
        checked(&first).contains("<a href=\"?cursor=eur:debit\">Next page</a>"),
        "{}",
        first.body
    );
    assert!(checked(&api.get("/?limit=2&cursor=eur:debit").await).contains("eur:debit:evil"));

    let account = api.get("/accounts/eur:debit:evil?limit=4").await;
    let text = checked(&account);
    assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;co&quot;"), "{text}");
    assert!(
        text.contains("&lt;/td&gt;&lt;img src=x onerror=alert(1)&gt;") && !text.contains("<img"),
        "{text}"
    );
    assert!(text.contains("<dt>Closing balance</dt><dd>17.50</dd>"), "{text}");
    assert!(text.contains("<a href=\"?cursor=4\">Next page</a>"), "{text}");
    let csv =
        "href=\"../v1/accounts/eur:debit:evil/statement.csv?limit=4&amp;\">CSV of this page</a>";
    assert!(text.contains(csv), "{text}");
    let whole = api.get("/accounts/eur:debit:evil").await;
    assert!(checked(&whole).contains("evil/statement.csv?\">CSV</a>"), "{}", whole.body);
    // An empty field of the form is one left out.
    let asked = "/accounts/eur:debit:evil?from=2026-01-01T00%3A00%3A00%2B01%3A00&to=&by=effective";
    assert_eq!(api.get(asked).await.problem(), "invalid-parameter");
    let asked = asked.replace("&by=effective", "&limit=1");
    let part = api.get(&asked).await;
    assert!(
        checked(&part).contains("?from=2026-01-01T00:00:00%2B01:00&amp;cursor=1\""),
        "{}",
        part.body
    );
    let effective = api.get("/accounts/eur:debit:evil?from=2026-01-01&by=effective&limit=2").await;
    assert!(checked(&effective).contains("selected=\"selected\""));
    let next = effective.body.split("<a href=\"?").nth(1).unwrap().split('"').next().unwrap();
    checked(&api.get(&format!("/accounts/eur:debit:evil?{}", next.replace("&amp;", "&"))).await);

    assert!(checked(&api.get("/trial-balance").await).contains("<td class=\"amount\">0.00</td>"));
    let dated = api.get("/trial-balance?effective_through=2026-01-01&limit=1").await;
    assert!(
        checked(&dated).contains("?effective_through=2026-01-01&amp;cursor="),
        "{}",
        dated.body
    );
    assert_eq!(api.get("/accounts/nope").await.problem(), "account-not-found");
    assert_eq!(api.get("/?limit=0").await.problem(), "invalid-parameter");
    assert_eq!(answer(api.request(Method::POST, "/")).await.problem(), "method-not-allowed");
    let style = api.get("/style.css").await;
    assert!(
        style.status == 200
            && style.headers["content-type"].to_str().unwrap().starts_with("text/css")
    );
}

#[tokio::test]
async fn a_browser_is_asked_for_a_key() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let (running, admin) = guarded(&server).await;
    let api = &running.api;
    for page in ["/", "/accounts/x", "/trial-balance"] {
        let refused = api.get(page).await;
        assert_eq!(refused.problem(), "unauthenticated");
        let challenge = refused.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Basic realm="), "{challenge}");
    }
    assert_eq!(api.get("/style.css").await.status, 200);
    for role in Role::ALL {
        let body = json!({"name": "n", "role": role});
        let created = answer(with(api, admin.reveal(), Method::POST, "/v1/keys").json(&body)).await;
        let key = created.json()["key"].as_str().unwrap().to_owned();
        let page = answer(api.request(Method::GET, "/").basic_auth("me", Some(key))).await;
        checked(&page);
    }
}
