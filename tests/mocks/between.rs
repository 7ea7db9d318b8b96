//! Between `forebay` and a mock: passes everything on, but what the mock is known not to have. Each
//! such thing is in one of the tables here, so that it can be read what was not proved.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ministack,
    Moto,
}

/// Types of the shipped environments that ministack refuses. In their place it is given something that
/// does nothing, and the template is given back as it was.
pub const UNKNOWN_TO_MINISTACK: [&str; 13] = [
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::Backup::BackupSelection",
    "AWS::Budgets::Budget",
    "AWS::CloudFront::KeyGroup",
    "AWS::CloudFront::PublicKey",
    "AWS::EC2::EIP",
    "AWS::EC2::FlowLog",
    "AWS::EC2::NatGateway",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::SecretsManager::RotationSchedule",
    "AWS::WAFv2::WebACLAssociation",
];

/// Types of production that moto takes in silence and does not make.
pub const UNKNOWN_TO_MOTO: [&str; 17] = [
    "AWS::AutoScaling::ScalingPolicy",
    "AWS::Backup::BackupPlan",
    "AWS::Backup::BackupSelection",
    "AWS::Backup::BackupVault",
    "AWS::Budgets::Budget",
    "AWS::CertificateManager::Certificate",
    "AWS::CloudWatch::Alarm",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::ElastiCache::ParameterGroup",
    "AWS::ElastiCache::ReplicationGroup",
    "AWS::ElastiCache::SubnetGroup",
    "AWS::Logs::MetricFilter",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SecretsManager::Secret",
    "AWS::WAFv2::WebACL",
    "AWS::WAFv2::WebACLAssociation",
];

/// The newest image is a public parameter that neither mock has and none lets anybody set.
const IMAGE: (&str, &str) = (
    "{{resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64}}",
    "ami-0123456789abcdef0",
);

/// What stands in.
const STAND_IN: &str = "AWS::CloudFormation::WaitConditionHandle";

/// Known to ministack, but not as these environments use them: alarms over several metrics.
fn is_beyond_ministack(resource: &Value) -> bool {
    let kind = resource["Type"].as_str().unwrap_or_default();
    UNKNOWN_TO_MINISTACK.contains(&kind)
        || (kind == "AWS::CloudWatch::Alarm" && !resource["Properties"]["Metrics"].is_null())
}

/// moto makes every balancer one for HTTP and makes no certificates, and then refuses what listens for
/// more; and its ids of
/// zones are not as AWS's, so that none can be written in the file.
fn is_beyond_moto(resource: &Value) -> bool {
    let properties = &resource["Properties"];
    match resource["Type"].as_str().unwrap_or_default() {
        "AWS::ElasticLoadBalancingV2::Listener" => properties["Protocol"] != "HTTP",
        "AWS::Route53::RecordSet" => properties["HostedZoneId"].is_string(),
        _ => false,
    }
}

pub struct Between {
    pub address: SocketAddr,
}

impl Between {
    pub fn start(kind: Kind, target: String) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        let given = Arc::new(Mutex::new(Given::default()));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (target, given) = (target.clone(), Arc::clone(&given));
                std::thread::spawn(move || pass(kind, &target, &given, connection));
            }
        });
        Between { address }
    }
}

/// One request, answered; the connection ends with it.
fn pass(kind: Kind, target: &str, given: &Mutex<Given>, mut connection: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let (mut line, mut headers) = (String::new(), Vec::new());
    reader.read_line(&mut line).ok()?;
    let method = line.split(' ').next()?.to_owned();
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "host" | "expect" | "connection" => {}
            _ => headers.push((name.to_owned(), value.to_owned())),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    if method != "POST" {
        return connection.write_all(&of_a_bucket(target, &method, &path, &headers, body)?).ok();
    }
    let form = Form::read(&body);
    given.lock().ok()?.remember(&form);
    let (code, answer) = match (kind, form.get("Action")) {
        (Kind::Moto, Some(action @ "UpdateTerminationProtection")) => (200, done(action, "")),
        (Kind::Moto, Some(action @ "GetTemplate")) => {
            (200, done(action, &given.lock().ok()?.template(&form)))
        }
        (Kind::Moto, _) => {
            let body = moto(target, &headers, &*given.lock().ok()?, form, body);
            ask(target, &path, &headers, &body)?
        }
        (Kind::Ministack, _) => {
            let back = form.get("Action") == Some("GetTemplate");
            let (code, answer) = ask(target, &path, &headers, &ministack(form, body))?;
            (code, if back { as_it_was(&answer) } else { answer })
        }
    };
    let head = format!(
        "HTTP/1.1 {code} X\r\ncontent-type: text/xml\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    );
    connection.write_all(head.as_bytes()).ok()?;
    connection.write_all(answer.as_bytes()).ok()
}

/// A question to S3, passed on as it is; of the answer, what `forebay` reads of it.
fn of_a_bucket(
    target: &str,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: Vec<u8>,
) -> Option<Vec<u8>> {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{target}{path}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let response = agent.run(request.body(body).ok()?).ok()?;
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", response.status().as_u16());
    for name in ["etag", "x-amz-checksum-sha256"] {
        if let Some(value) = response.headers().get(name).and_then(|value| value.to_str().ok()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    Some(format!("{head}content-length: 0\r\n\r\n").into_bytes())
}

fn done(action: &str, result: &str) -> String {
    format!("<{action}Response><{action}Result>{result}</{action}Result></{action}Response>")
}

/// Templates as they were given, by stack: what moto gives back has been filled in.
#[derive(Default)]
struct Given(BTreeMap<String, String>);

impl Given {
    fn remember(&mut self, form: &Form) {
        if let (Some("CreateChangeSet"), Some(stack), Some(template)) =
            (form.get("Action"), form.get("StackName"), form.get("TemplateBody"))
        {
            self.0.insert(stack.to_owned(), template.to_owned());
        }
    }

    fn template(&self, form: &Form) -> String {
        let template = form.get("StackName").and_then(|stack| self.0.get(stack));
        format!("<TemplateBody>{}</TemplateBody>", escaped(template.map_or("", String::as_str)))
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn ask(
    target: &str,
    path: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Option<(u16, String)> {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut request = agent.post(format!("{target}{path}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut response = request.send(body).ok()?;
    let code = response.status().as_u16();
    Some((code, response.body_mut().read_to_string().ok()?))
}

/// A form as AWS's query protocol sends it.
struct Form(Vec<(String, String)>);

impl Form {
    fn read(body: &[u8]) -> Form {
        Form(form_urlencoded::parse(body).into_owned().collect())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The same form with another template.
    fn with_template(mut self, change: impl FnOnce(&mut Value)) -> Option<Vec<u8>> {
        let body = self.0.iter_mut().find(|(name, _)| name == "TemplateBody")?;
        let mut template: Value = serde_json::from_str(&body.1).ok()?;
        change(&mut template);
        body.1 = template.to_string().replace(IMAGE.0, IMAGE.1);
        let mut out = form_urlencoded::Serializer::new(String::new());
        Some(out.extend_pairs(&self.0).finish().into_bytes())
    }
}

fn ministack(form: Form, body: Vec<u8>) -> Vec<u8> {
    let stand_in = |template: &mut Value| {
        let resources = template["Resources"].as_object_mut().into_iter().flatten();
        for (_, resource) in resources.filter(|(_, it)| is_beyond_ministack(it)) {
            *resource = json!({ "Type": STAND_IN, "Metadata": { "StandsFor": resource.clone() } });
        }
    };
    form.with_template(stand_in).unwrap_or(body)
}

/// A template without its stand-ins, in the answer that brings it.
fn as_it_was(answer: &str) -> String {
    let (start, end) = ("<TemplateBody>", "</TemplateBody>");
    let Some((before, rest)) = answer.split_once(start) else { return answer.to_owned() };
    let Some((text, after)) = rest.split_once(end) else { return answer.to_owned() };
    let plain = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#39;", "'")];
    let text = plain.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let mut template: Value =
        serde_json::from_str(&text.replace("&amp;", "&")).expect("a template is JSON");
    for (_, resource) in template["Resources"].as_object_mut().into_iter().flatten() {
        if !resource["Metadata"]["StandsFor"].is_null() {
            *resource = resource["Metadata"]["StandsFor"].take();
        }
    }
    let text = escaped(&template.to_string().replace(IMAGE.1, IMAGE.0));
    format!("{before}{start}{text}{end}{after}")
}

/// moto has no outputs of stacks made by change set: what is imported is filled in, as the id of the
/// resource that its exporter names.
fn moto(
    target: &str,
    headers: &[(String, String)],
    given: &Given,
    form: Form,
    body: Vec<u8>,
) -> Vec<u8> {
    let Some(template) = form.get("TemplateBody") else { return body };
    let unknown = unknown_in(template);
    let mut exports = BTreeMap::new();
    for (stack, template) in
        given.0.iter().filter(|(stack, _)| form.get("StackName") != Some(*stack))
    {
        exports.extend(exports_of(stack, template, &ids(target, headers, stack)));
    }
    let known = |template: &mut Value| {
        let resources = template["Resources"].as_object_mut().into_iter().flatten();
        for (_, resource) in resources {
            if is_beyond_moto(resource) {
                *resource = json!({ "Type": STAND_IN });
            } else if resource["Type"] == "AWS::RDS::DBInstance" {
                // It trips over a group of parameters that is made with the database.
                resource["Properties"].as_object_mut().map(|it| it.remove("DBParameterGroupName"));
            }
        }
        fill_in(template, &exports, &unknown);
    };
    form.with_template(known).unwrap_or(body)
}

/// The ids of a stack's resources, as moto knows them.
fn ids(target: &str, headers: &[(String, String)], stack: &str) -> BTreeMap<String, String> {
    let asked = format!("Action=DescribeStackResources&Version=2010-05-15&StackName={stack}");
    let (_, answer) = ask(target, "/", headers, asked.as_bytes()).expect("moto answers");
    let inner = |text: &str, tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
    };
    let members = answer.split("<member>").skip(1);
    let pair = |it: &str| Some((inner(it, "LogicalResourceId")?, inner(it, "PhysicalResourceId")?));
    members.filter_map(pair).collect()
}

fn exports_of(
    stack: &str,
    template: &str,
    ids: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let template: Value = serde_json::from_str(template).unwrap_or_default();
    let outputs = template["Outputs"].as_object().into_iter().flatten();
    let exported = outputs.filter_map(|(name, output)| {
        let value = &output["Value"];
        let id = value["Ref"].as_str().or_else(|| value["Fn::GetAtt"][0].as_str())?;
        Some((format!("{stack}-{name}"), ids.get(id).cloned().unwrap_or_else(|| id.to_owned())))
    });
    exported.collect()
}

/// Resources that moto does not make: nothing has an attribute of them.
fn unknown_in(template: &str) -> BTreeSet<String> {
    let template: Value = serde_json::from_str(template).unwrap_or_default();
    let resources = template["Resources"].as_object().into_iter().flatten();
    let unknown = resources
        .filter(|(_, it)| it["Type"].as_str().is_some_and(|it| UNKNOWN_TO_MOTO.contains(&it)));
    unknown.map(|(id, _)| id.clone()).collect()
}

fn fill_in(value: &mut Value, exports: &BTreeMap<String, String>, unknown: &BTreeSet<String>) {
    if let Some(name) = value["Fn::ImportValue"].as_str() {
        *value = exports.get(name).cloned().unwrap_or_else(|| name.to_owned()).into();
        return;
    }
    let named = value["Fn::GetAtt"][0].as_str().or_else(|| value["Ref"].as_str());
    if let Some(id) = named.filter(|id| unknown.contains(*id)) {
        *value = id.into();
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|it| fill_in(it, exports, unknown)),
        Value::Object(map) => map.values_mut().for_each(|it| fill_in(it, exports, unknown)),
        // A secret that is not made has no text to be filled in.
        Value::String(text) if unknown.iter().any(|id| is_secret_of(text, id)) => {
            *text = "not-a-secret".to_owned();
        }
        _ => {}
    }
}

fn is_secret_of(text: &str, id: &str) -> bool {
    text.contains(&format!("secretsmanager:${{{id}}}"))
}
