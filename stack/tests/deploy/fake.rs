//! A CloudFormation of the test's own, over its real protocol: form-encoded questions, answers in XML.
//! What is changed goes well at the second look, unless the script says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::beside;

/// Events on a page, so that there are always several pages.
const PAGE: usize = 3;

#[derive(Clone, Debug, Default)]
pub struct Event {
    pub resource: String,
    pub kind: String,
    pub status: String,
    pub reason: String,
    at: String,
}

#[derive(Clone, Debug, Default)]
pub struct Stack {
    pub status: String,
    pub template: String,
    pub parameters: BTreeMap<String, String>,
    pub protected: bool,
    pub policies: Vec<String>,
    pub events: Vec<Event>,
    /// What it will be at a later look, and how many looks that is away.
    next: Option<(u32, String)>,
}

/// What goes otherwise than well.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub account: String,
    /// A resource that cannot be made or changed, and why.
    pub fails: Option<(String, String)>,
    /// A rollback that fails as well.
    pub rollback_fails: bool,
    /// A resource whose replacement the change set tells.
    pub replaces: Option<String>,
    /// Calls that are throttled before any is answered.
    pub throttled: u32,
    /// Looks before an operation is over.
    pub looks: u32,
    /// A resource that somebody changed.
    pub drifted: Option<String>,
    /// What every quota allows; without it, plenty.
    pub quota: Option<u32>,
    /// Whether the region lacks the images that are asked for.
    pub no_images: bool,
}

#[derive(Default)]
pub struct State {
    pub script: Script,
    pub stacks: BTreeMap<String, Stack>,
    /// Every call: `CreateChangeSet production-data`.
    pub calls: Vec<String>,
    /// Objects in buckets: their bytes and their sum, by path.
    pub objects: BTreeMap<String, (Vec<u8>, String)>,
    proposed: BTreeMap<String, (String, Stack)>,
}

pub struct Fake {
    pub address: SocketAddr,
    pub state: Arc<Mutex<State>>,
}

impl Fake {
    pub fn start(script: Script) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { script, ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(connection, &shared));
            }
        });
        Fake { address, state }
    }

    /// The calls of one action, in their order: the stacks they were about.
    pub fn calls(&self, action: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let of = |call: &String| call.strip_prefix(&format!("{action} ")).map(str::to_owned);
        state.calls.iter().filter_map(of).collect()
    }

    pub fn stack(&self, name: &str) -> Stack {
        self.state.lock().unwrap().stacks.get(name).cloned().unwrap_or_default()
    }
}

fn serve(connection: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut connection = connection;
    loop {
        let mut length = 0;
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':') {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            length = headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        if let Some(answer) = beside::answer(&mut state.lock().unwrap(), &line, &headers, &body) {
            if connection.write_all(&answer).is_err() {
                return;
            }
            continue;
        }
        let asked: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
        let (code, answer) = match answer(&mut state.lock().unwrap(), &asked) {
            Ok(inner) => {
                let action = &asked["Action"];
                (
                    200,
                    format!(
                        "<{action}Response><{action}Result>{inner}</{action}Result></{action}Response>"
                    ),
                )
            }
            Err((code, message)) => (
                400,
                format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{}</Message></Error></ErrorResponse>",
                    escaped(&message)
                ),
            ),
        };
        let head = format!(
            "HTTP/1.1 {code} X\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        if connection.write_all(format!("{head}{answer}").as_bytes()).is_err() {
            return;
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

type Answer = Result<String, (&'static str, String)>;

fn answer(state: &mut State, asked: &BTreeMap<String, String>) -> Answer {
    let text = |key: &str| asked.get(key).cloned().unwrap_or_default();
    let action = text("Action");
    let mut name = text("StackName");
    if let Some((_, stack)) = name.split_once(":stack/") {
        name = stack.split('/').next().unwrap_or_default().to_owned();
    }
    state.calls.push(format!("{action} {name}"));
    if state.script.throttled > 0 {
        state.script.throttled -= 1;
        return Err(("Throttling", "Rate exceeded".to_owned()));
    }
    match action.as_str() {
        "GetCallerIdentity" => Ok(format!(
            "<Arn>arn:aws:iam::{0}:user/test</Arn><UserId>u</UserId><Account>{0}</Account>",
            state.script.account
        )),
        "DescribeAccountLimits" => Ok("<AccountLimits><member><Name>StackLimit</Name><Value>2000</Value></member></AccountLimits>".to_owned()),
        "ValidateTemplate" | "DeleteChangeSet" => Ok(String::new()),
        "CreateChangeSet" => Ok(propose(state, &name, asked)),
        "DescribeChangeSet" => Ok(proposed(state, &name)),
        "ExecuteChangeSet" => {
            execute(state, &name);
            Ok(String::new())
        }
        "DetectStackDrift" => Ok(format!("<StackDriftDetectionId>{name}</StackDriftDetectionId>")),
        "DescribeStackDriftDetectionStatus" => Ok("<StackId>x</StackId><StackDriftDetectionId>x</StackDriftDetectionId><DetectionStatus>DETECTION_COMPLETE</DetectionStatus><Timestamp>2026-01-01T00:00:00Z</Timestamp>".to_owned()),
        "DescribeStackResourceDrifts" => Ok(drifts(state, &name)),
        _ => of_a_stack(state, &action, &name, &text),
    }
}

/// Questions about a stack that must be there.
fn of_a_stack(
    state: &mut State,
    action: &str,
    name: &str,
    text: &dyn Fn(&str) -> String,
) -> Answer {
    let missing = || ("ValidationError", format!("Stack with id {name} does not exist"));
    match action {
        "DescribeStacks" if name.is_empty() => {
            let shown = state.stacks.iter().map(|(name, stack)| shown(name, stack));
            let all: String = shown.map(|it| format!("<member>{it}</member>")).collect();
            Ok(format!("<Stacks>{all}</Stacks>"))
        }
        "DescribeStacks" => {
            let stack = state.stacks.get_mut(name).ok_or_else(missing)?;
            look(stack);
            let shown = shown(name, stack);
            if stack.status == "DELETE_COMPLETE" {
                state.stacks.remove(name);
                return Err(missing());
            }
            Ok(format!("<Stacks><member>{shown}</member></Stacks>"))
        }
        "GetTemplate" => {
            let stack = state.stacks.get(name).ok_or_else(missing)?;
            Ok(format!("<TemplateBody>{}</TemplateBody>", escaped(&stack.template)))
        }
        "DescribeStackEvents" => {
            let stack = state.stacks.get(name).ok_or_else(missing)?;
            Ok(events(name, stack, &text("NextToken")))
        }
        "UpdateTerminationProtection" => {
            let stack = state.stacks.get_mut(name).ok_or_else(missing)?;
            stack.protected = text("EnableTerminationProtection") == "true";
            Ok(String::new())
        }
        "SetStackPolicy" => {
            let stack = state.stacks.get_mut(name).ok_or_else(missing)?;
            stack.policies.push(text("StackPolicyBody"));
            Ok(String::new())
        }
        "CancelUpdateStack" => {
            let stack = state.stacks.get_mut(name).ok_or_else(missing)?;
            stack.next = Some((1, "UPDATE_ROLLBACK_COMPLETE".to_owned()));
            stack.status = "UPDATE_ROLLBACK_IN_PROGRESS".to_owned();
            Ok(String::new())
        }
        "ContinueUpdateRollback" => {
            let stack = state.stacks.get_mut(name).ok_or_else(missing)?;
            stack.status = "UPDATE_ROLLBACK_IN_PROGRESS".to_owned();
            stack.next = Some((1, "UPDATE_ROLLBACK_COMPLETE".to_owned()));
            Ok(String::new())
        }
        "DeleteStack" => {
            let looks = state.script.looks;
            let stack = state.stacks.get_mut(name).ok_or_else(missing)?;
            if stack.protected {
                return Err((
                    "ValidationError",
                    format!("{name} cannot be deleted: it is protected"),
                ));
            }
            if balancer_is_protected(&stack.template) {
                return Err(("ValidationError", "a balancer is protected".to_owned()));
            }
            stack.status = "DELETE_IN_PROGRESS".to_owned();
            stack.next = Some((looks.max(1), "DELETE_COMPLETE".to_owned()));
            Ok(String::new())
        }
        other => Err(("InvalidAction", format!("{other} is not played here"))),
    }
}

fn balancer_is_protected(template: &str) -> bool {
    ids(template).values().any(|resource| {
        let attributes = resource["Properties"]["LoadBalancerAttributes"].as_array();
        attributes.into_iter().flatten().any(|attribute| {
            attribute["Key"] == "deletion_protection.enabled" && attribute["Value"] == "true"
        })
    })
}

/// One look: an operation comes one step nearer to its end.
fn look(stack: &mut Stack) {
    if let Some((looks, status)) = stack.next.take() {
        if looks > 0 {
            stack.next = Some((looks - 1, status));
        } else {
            stack.status = status;
        }
    }
}

fn shown(name: &str, stack: &Stack) -> String {
    let mut parameters = String::new();
    for (key, value) in &stack.parameters {
        let _ = write!(
            parameters,
            "<member><ParameterKey>{key}</ParameterKey><ParameterValue>{value}</ParameterValue></member>"
        );
    }
    format!(
        "<StackName>{name}</StackName><StackId>arn:aws:cloudformation:r:1:stack/{name}/1</StackId>\
         <StackStatus>{}</StackStatus><CreationTime>2026-01-01T00:00:00Z</CreationTime>\
         <EnableTerminationProtection>{}</EnableTerminationProtection><Parameters>{parameters}</Parameters>",
        stack.status, stack.protected
    )
}

fn propose(state: &mut State, name: &str, asked: &BTreeMap<String, String>) -> String {
    let mut stack = state.stacks.get(name).cloned().unwrap_or_default();
    let fresh = asked.get("ChangeSetType").is_some_and(|kind| kind == "CREATE");
    stack.template = match asked.get("TemplateURL") {
        Some(url) => beside::read(state, url),
        None => asked["TemplateBody"].clone(),
    };
    let mut parameters = BTreeMap::new();
    for index in 1.. {
        let part = |key: &str| asked.get(&format!("Parameters.member.{index}.{key}"));
        let Some(key) = part("ParameterKey") else { break };
        let kept = stack.parameters.get(key).cloned().unwrap_or_default();
        parameters.insert(key.clone(), part("ParameterValue").cloned().unwrap_or(kept));
    }
    stack.parameters = parameters;
    if fresh {
        state.stacks.entry(name.to_owned()).or_default().status = "REVIEW_IN_PROGRESS".to_owned();
    }
    let kind = if fresh { "CREATE" } else { "UPDATE" };
    state.proposed.insert(name.to_owned(), (kind.to_owned(), stack));
    format!("<Id>arn:aws:cloudformation:r:1:changeSet/{name}</Id><StackId>x</StackId>")
}

fn ids(template: &str) -> BTreeMap<String, Value> {
    let template: Value = serde_json::from_str(template).unwrap_or_default();
    let resources = template["Resources"].as_object().cloned().unwrap_or_default();
    resources.into_iter().collect()
}

/// The resources that differ between what is and what is proposed.
fn changing(state: &State, name: &str) -> Vec<(String, String)> {
    let (old, new) = (
        ids(&state.stacks.get(name).cloned().unwrap_or_default().template),
        ids(&state.proposed[name].1.template),
    );
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differ = names.into_iter().filter(|id| old.get(*id) != new.get(*id));
    let kind =
        |id: &String| new.get(id).or(old.get(id)).unwrap()["Type"].as_str().unwrap().to_owned();
    differ.map(|id| (id.clone(), kind(id))).collect()
}

fn proposed(state: &State, name: &str) -> String {
    let same = state.stacks.get(name).is_some_and(|stack| {
        let (_, new) = &state.proposed[name];
        stack.template == new.template && stack.parameters == new.parameters
    });
    if same {
        return "<Status>FAILED</Status><StatusReason>The submitted information didn't contain changes.</StatusReason>".to_owned();
    }
    let mut changes = String::new();
    for (id, kind) in changing(state, name) {
        let replaced = state.script.replaces.as_ref() == Some(&id);
        let _ = write!(
            changes,
            "<member><Type>Resource</Type><ResourceChange><Action>Modify</Action><LogicalResourceId>{id}</LogicalResourceId>\
             <ResourceType>{kind}</ResourceType><Replacement>{}</Replacement></ResourceChange></member>",
            if replaced { "True" } else { "False" }
        );
    }
    format!("<Status>CREATE_COMPLETE</Status><Changes>{changes}</Changes>")
}

fn execute(state: &mut State, name: &str) {
    let changing = changing(state, name);
    let (kind, mut stack) = state.proposed.remove(name).unwrap();
    let event = |resource: &str, kind: &str, status: String, reason: &str| Event {
        resource: resource.to_owned(),
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        at: jiff::Timestamp::now().to_string(),
    };
    let own = "AWS::CloudFormation::Stack";
    stack.events.push(event(name, own, format!("{kind}_IN_PROGRESS"), "User Initiated"));
    let mut end = format!("{kind}_COMPLETE");
    for (id, of) in changing {
        stack.events.push(event(&id, &of, format!("{kind}_IN_PROGRESS"), ""));
        if let Some((_, reason)) = state.script.fails.as_ref().filter(|(fails, _)| *fails == id) {
            stack.events.push(event(
                "Echo",
                &of,
                format!("{kind}_FAILED"),
                "Resource creation cancelled",
            ));
            stack.events.push(event(&id, &of, format!("{kind}_FAILED"), reason));
            end = match (kind.as_str(), state.script.rollback_fails) {
                ("CREATE", _) => "ROLLBACK_COMPLETE".to_owned(),
                (_, true) => "UPDATE_ROLLBACK_FAILED".to_owned(),
                (_, false) => "UPDATE_ROLLBACK_COMPLETE".to_owned(),
            };
            // What was there before is there again.
            stack.template = state.stacks[name].template.clone();
            break;
        }
        stack.events.push(event(&id, &of, format!("{kind}_COMPLETE"), ""));
    }
    stack.events.push(event(name, own, end.clone(), ""));
    stack.status = format!("{kind}_IN_PROGRESS");
    stack.next = Some((state.script.looks, end));
    state.stacks.insert(name.to_owned(), stack);
}

/// The newest first, a few to a page.
fn events(name: &str, stack: &Stack, token: &str) -> String {
    let from: usize = token.parse().unwrap_or(0);
    let mut text = String::from("<StackEvents>");
    let newest = stack.events.iter().enumerate().rev();
    for (number, event) in newest.skip(from).take(PAGE) {
        let _ = write!(
            text,
            "<member><StackId>x</StackId><EventId>{name}-{number}</EventId><StackName>{name}</StackName>\
             <LogicalResourceId>{}</LogicalResourceId><ResourceType>{}</ResourceType><Timestamp>{}</Timestamp>\
             <ResourceStatus>{}</ResourceStatus><ResourceStatusReason>{}</ResourceStatusReason></member>",
            event.resource,
            event.kind,
            event.at,
            event.status,
            escaped(&event.reason)
        );
    }
    text.push_str("</StackEvents>");
    if from + PAGE < stack.events.len() {
        let _ = write!(text, "<NextToken>{}</NextToken>", from + PAGE);
    }
    text
}

fn drifts(state: &State, name: &str) -> String {
    let Some(id) = &state.script.drifted else { return "<StackResourceDrifts/>".to_owned() };
    if !state.stacks.get(name).is_some_and(|stack| ids(&stack.template).contains_key(id)) {
        return "<StackResourceDrifts/>".to_owned();
    }
    format!(
        "<StackResourceDrifts><member><StackId>x</StackId><LogicalResourceId>{id}</LogicalResourceId>\
         <ResourceType>AWS::X::Y</ResourceType><StackResourceDriftStatus>MODIFIED</StackResourceDriftStatus>\
         <Timestamp>2026-01-01T00:00:00Z</Timestamp><PropertyDifferences><member><PropertyPath>/CidrIp</PropertyPath>\
         <ExpectedValue>10.0.0.0/8</ExpectedValue><ActualValue>0.0.0.0/0</ActualValue>\
         <DifferenceType>NOT_EQUAL</DifferenceType></member></PropertyDifferences></member></StackResourceDrifts>"
    )
}
