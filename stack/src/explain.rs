//! Where a value comes from and why it is what it is: a key of the file, a database parameter, or
//! a resource of the templates.

use proxy_config::Tree;
use proxy_config::schema::KeyDoc;
use proxy_config::suggest;
use proxy_config::tree::{self, Node};
use serde::Serialize;
use serde_json::Value;

use crate::check::{named_in, properties};
use crate::document::Loaded;
use crate::environment;
use crate::environment::aws::Balancer;
use crate::estate::EstatePlan;
use crate::template::{Resource, Template};

/// A value, its origin and its reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// `database.storage`, or `data/Database`.
    pub key: String,
    pub value: String,
    pub origin: Origin,
    /// What it means, or why it is so.
    pub why: String,
}

/// Who decided a value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Somebody wrote it, at `FILE:LINE:COLUMN`, over what stands in files below.
    Written { place: String, over: Vec<String> },
    /// Nobody wrote it.
    Default,
    /// Forebay decided it from other values.
    Decided,
    /// It may be written and is not.
    Unset,
}

/// What a key, or everything below it, is. The error says what is there instead.
pub fn explain(
    loaded: &Loaded,
    estate: Option<(&EstatePlan, &[Template])>,
    wanted: &str,
) -> Result<Vec<Explanation>, String> {
    let docs = environment::keys();
    let mut found = written(loaded, &docs);
    found.extend(defaults(&loaded.tree, &docs));
    if let Some((plan, _)) = estate {
        found.extend(decided(loaded, plan));
    }
    let below = |key: &str| {
        key.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let mut asked: Vec<Explanation> = found.iter().filter(|it| below(&it.key)).cloned().collect();
    asked.sort_by(|a, b| a.key.cmp(&b.key));
    if !asked.is_empty() {
        return Ok(asked);
    }
    if let Some((_, templates)) = estate {
        let resources = resources(templates, wanted);
        if !resources.is_empty() {
            return Ok(resources);
        }
    }
    if let Some(doc) = docs.iter().find(|doc| tree::fits(&doc.pattern, wanted)) {
        let value = "not written, and there is no default".to_owned();
        let why = doc.description.clone();
        return Ok(vec![Explanation { key: wanted.to_owned(), value, origin: Origin::Unset, why }]);
    }
    let mut names: Vec<&str> = found.iter().map(|it| it.key.as_str()).collect();
    names.extend(docs.iter().map(|doc| doc.pattern.as_str()).filter(|key| !key.contains('*')));
    let hint = match suggest::closest(wanted, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "`forebay schema` has every key; resources are in the templates of `forebay synth`"
            .to_owned(),
    };
    Err(format!("there is no `{wanted}` in this environment; {hint}"))
}

/// Every scalar of the file and of those it extends.
fn written(loaded: &Loaded, docs: &[KeyDoc]) -> Vec<Explanation> {
    let mut found = Vec::new();
    let own = loaded.proxy.as_ref().map(|tree| (tree, "edge.proxy"));
    for (tree, base) in [(&loaded.tree, "")].into_iter().chain(own) {
        for (path, node) in tree.root().all() {
            let Some(text) = node.as_text() else { continue };
            let key = joined(base, &path);
            let over = if base.is_empty() { over(loaded, &path) } else { Vec::new() };
            let origin = Origin::Written { place: place(tree, node), over };
            let why = meaning(docs, &key);
            found.push(Explanation { key, value: text.to_owned(), origin, why });
        }
    }
    found
}

fn joined(base: &str, path: &str) -> String {
    match (base, path) {
        ("", path) => path.to_owned(),
        (base, "") => base.to_owned(),
        (base, path) => format!("{base}.{path}"),
    }
}

/// What the files below say of the same key, the nearest first.
fn over(loaded: &Loaded, path: &str) -> Vec<String> {
    let mut saying = loaded.layers.iter().filter_map(|layer| Some((layer, layer.get(path)?)));
    // The topmost is the value itself.
    saying.next();
    let told = |(tree, node): (&Tree, &Node)| {
        format!("{} at {}", node.as_text().unwrap_or(node.kind_name()), place(tree, node))
    };
    saying.map(told).collect()
}

fn place(tree: &Tree, node: &Node) -> String {
    let span = node.span;
    let name = tree.sources().get(span.source).map_or("", |source| source.name.as_str());
    format!("{name}:{}:{}", span.line, span.column)
}

fn meaning(docs: &[KeyDoc], key: &str) -> String {
    let doc = docs.iter().find(|doc| tree::fits(&doc.pattern, key) && !doc.description.is_empty());
    doc.map(|doc| doc.description.clone()).unwrap_or_default()
}

/// Keys that nobody wrote, of sections that somebody did.
fn defaults(tree: &Tree, docs: &[KeyDoc]) -> Vec<Explanation> {
    let mut found = Vec::new();
    for (path, node) in tree.root().all() {
        if node.as_map().is_none() {
            continue;
        }
        for doc in docs {
            let (parent, name) = doc.pattern.rsplit_once('.').unwrap_or(("", &doc.pattern));
            // Nothing is no default: such a key is unset, or decided from others.
            let value = doc.default.as_ref().filter(|value| *value != "null");
            let Some(value) = value.filter(|_| tree::fits(parent, &path)) else {
                continue;
            };
            if name != "*" && node.child(name).is_none() {
                found.push(Explanation {
                    key: joined(&path, name),
                    value: value.clone(),
                    origin: Origin::Default,
                    why: doc.description.clone(),
                });
            }
        }
    }
    // A choice of several forms has its keys once per form.
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found.dedup_by(|a, b| a.key == b.key);
    found
}

/// What Forebay decides for AWS where the file says nothing.
fn decided(loaded: &Loaded, plan: &EstatePlan) -> Vec<Explanation> {
    let mut found = Vec::new();
    let mut add = |key: &str, value: String, why: String| {
        if loaded.tree.get(key).is_none() {
            let key = key.to_owned();
            found.push(Explanation { key, value, origin: Origin::Decided, why });
        }
    };
    for parameter in &plan.parameters {
        let key = format!("database.parameters.{}", parameter.name);
        add(&key, parameter.value.clone(), parameter.why.clone());
    }
    for (name, database) in &plan.estate.databases {
        for parameter in crate::estate::parameters::tuned(database) {
            let key = format!("databases.{name}.parameters.{}", parameter.name);
            add(&key, parameter.value, parameter.why);
        }
    }
    if let Some(database) = plan.database() {
        let why = "the engine's long-term version when this was released; nothing but the file changes it";
        add("database.version", database.engine.version().to_owned(), why.to_owned());
    }
    let why = match plan.estate.edge.balancer {
        Balancer::Application => {
            "known bad addresses and input are refused before the proxy sees them"
        }
        _ => "a balancer of connections takes none",
    };
    add("edge.waf", plan.estate.edge.waf.to_string(), why.to_owned());
    for endpoint in &plan.endpoints {
        let key = format!("network.endpoints.{}", endpoint.service);
        add(&key, "in every zone".to_owned(), endpoint.why.to_owned());
    }
    for subnet in &plan.subnets {
        let why =
            "the range is divided into sixteen, so that a third zone comes without moving anything";
        add(&format!("network.subnets.{}", subnet.id()), subnet.cidr.clone(), why.to_owned());
    }
    found
}

/// Resources of a name, `Database` or `data/Database`: what each is for and what it hangs on.
fn resources(templates: &[Template], wanted: &str) -> Vec<Explanation> {
    let mut found = Vec::new();
    for template in templates {
        for (id, resource) in &template.resources {
            let full = format!("{}/{id}", template.stack.word());
            if wanted == id || wanted == full {
                let why = reasons(template, id, resource);
                let value = format!(
                    "{} {}",
                    resource.kind,
                    serde_json::to_string_pretty(&resource.properties).unwrap_or_default()
                );
                found.push(Explanation { key: full, value, origin: Origin::Decided, why });
            }
        }
    }
    found
}

fn reasons(template: &Template, id: &str, resource: &Resource) -> String {
    let mut why = resource.metadata.get("Why").and_then(Value::as_str).unwrap_or("").to_owned();
    let refers: Vec<String> = named_in(&resource.properties)
        .into_iter()
        .filter(|name| template.resources.contains_key(name))
        .collect();
    let users = template
        .resources
        .iter()
        .filter(|(_, other)| named_in(&other.properties).iter().any(|name| name == id));
    let users: Vec<String> = users.map(|(user, _)| user.clone()).collect();
    for (what, mut names) in [("refers to", refers), ("is referred to by", users)] {
        names.sort_unstable();
        names.dedup();
        if !names.is_empty() {
            why.push_str(&format!("\n{what} {}", names.join(", ")));
        }
    }
    let set: Vec<&str> = properties::create_only(&resource.kind)
        .into_iter()
        .filter(|path| resource.properties.pointer(&format!("/{path}")).is_some())
        .collect();
    if !set.is_empty() {
        why.push_str(&format!("\nis made anew when one of these changes: {}", set.join(", ")));
    }
    why
}
