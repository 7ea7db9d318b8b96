//! What leads into an estate and out of it: networks without a way out, balancers of connections, and
//! machines that tasks run on.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a failed test")]

use std::path::Path;

use forebay_stack::estate::{self, EstatePlan};
use forebay_stack::template::{self, Stack, Template};
use forebay_stack::{check, validate};
use serde_json::{Value, json};

/// A shipped environment, or one of `estates/`, whole; every offline check passes.
fn made(file: &str) -> (EstatePlan, Vec<Template>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let environment = validate::environment(&path).unwrap_or_else(|problems| panic!("{problems}"));
    let plan = estate::resolve(&environment).unwrap().unwrap();
    let templates = template::build(&plan).unwrap();
    assert_eq!(check::all(&plan, &templates), [], "{file}");
    (plan, templates)
}

const ENCODING: &str = "../environments/video-encoding.yaml";
const STREAM: &str = "../environments/stream-api.yaml";
const ISOLATED: &str = "tests/estates/isolated.yaml";
const PASSTHROUGH: &str = "tests/estates/passthrough.yaml";

fn properties<'a>(templates: &'a [Template], id: &str) -> &'a Value {
    let found = templates.iter().find_map(|template| template.resources.get(id));
    &found.unwrap_or_else(|| panic!("there is no {id}")).properties
}

fn of_kind<'a>(templates: &'a [Template], kind: &'a str) -> Vec<&'a str> {
    let all = templates.iter().flat_map(|template| &template.resources);
    all.filter(|(_, it)| it.kind == kind).map(|(id, _)| id.as_str()).collect()
}

/// What the checks say of an environment once somebody has changed its templates.
fn findings(file: &str, change: impl FnOnce(&mut Vec<Template>)) -> String {
    let (plan, mut templates) = made(file);
    change(&mut templates);
    let findings = check::all(&plan, &templates);
    findings.iter().map(|it| format!("{it}\n")).collect()
}

#[test]
fn a_network_without_a_way_out_has_an_endpoint_for_all_it_calls() {
    for (file, services) in [
        (ENCODING, &["ecr.api", "ecs-agent", "mediaconvert", "secretsmanager", "sqs", "ssm"][..]),
        (ISOLATED, &["ecr.dkr", "events", "logs", "monitoring", "secretsmanager", "sqs"][..]),
    ] {
        let (plan, templates) = made(file);
        for kind in ["AWS::EC2::NatGateway", "AWS::EC2::EIP"] {
            assert!(of_kind(&templates, kind).is_empty(), "{file}: {kind}");
        }
        let own: Vec<&str> = plan.endpoints.iter().map(|it| it.service.as_str()).collect();
        for service in services {
            assert!(own.contains(service), "{file}: {service} of {own:?}");
        }
        let logs = properties(&templates, "LogsEndpoint");
        assert_eq!(logs["PrivateDnsEnabled"], true);
        assert_eq!(logs["SubnetIds"].as_array().map(Vec::len), Some(3), "in every zone");
        assert!(logs["PolicyDocument"].to_string().contains("aws:PrincipalAccount"), "{logs}");
    }
}

#[test]
fn a_missing_endpoint_is_found_by_the_role_that_needs_it() {
    let network = |templates: &mut Vec<Template>| templates[0].resources.clone();
    for (file, endpoint, place) in [
        (ENCODING, "SqsEndpoint", "media/EncodeRole: calls sqs (sqs:"),
        (ENCODING, "EcrDkrEndpoint", "media/EncodeStartRole: calls ecr.dkr (ecr:"),
        (ENCODING, "EcsAgentEndpoint", "media/MachinesRole: calls ecs-agent (ecs:Poll)"),
        (ENCODING, "MediaconvertEndpoint", "media/EncodeRole: calls mediaconvert ("),
        (ISOLATED, "SecretsmanagerEndpoint", "media/ArtworkRole: calls secretsmanager ("),
        (ISOLATED, "CloudformationEndpoint", "app/LedgerLaunchTemplate: calls cloudformation ("),
        (ISOLATED, "MonitoringEndpoint", "edge/EdgeRole: calls monitoring ("),
    ] {
        let told = findings(file, |templates| {
            assert!(network(templates).contains_key(endpoint), "{endpoint}");
            templates[0].resources.remove(endpoint);
        });
        assert!(told.contains(place), "{place}: {told}");
    }
}

#[test]
fn a_way_out_by_hand_is_found() {
    let told = findings(ISOLATED, |templates| {
        let mut route = templates[0].resources["PublicRoute"].clone();
        route.properties["RouteTableId"] = json!({ "Ref": "PrivateRoutesB" });
        templates[0].resources.insert("Secret".to_owned(), route);
    });
    assert!(
        told.contains("network/Secret: leads out of a network that is to have no way out"),
        "{told}"
    );
    let told = findings(ISOLATED, |templates| {
        let endpoint = templates[0].resources.get_mut("SqsEndpoint").unwrap();
        endpoint.properties["SubnetIds"] = json!([{ "Ref": "AppSubnetA" }]);
    });
    assert!(told.contains("network/SqsEndpoint: stands in one zone"), "{told}");
    let told = findings(ISOLATED, |templates| {
        let rule = templates[0].resources.get_mut("EdgeToEndpoints443In").unwrap();
        rule.properties["SourceSecurityGroupId"] =
            json!({ "Fn::GetAtt": ["CacheGroup", "GroupId"] });
    });
    assert!(told.contains("network/EndpointsGroup: CacheGroup reaches it"), "{told}");
}

#[test]
fn an_edge_for_private_networks_is_reached_by_nobody_else() {
    let (_, templates) = made(ISOLATED);
    let balancer = properties(&templates, "Balancer");
    assert_eq!(balancer["Scheme"], "internal");
    let subnet = json!({ "Fn::ImportValue": "isolated-network-EdgeSubnetA" });
    assert_eq!(balancer["Subnets"][0], subnet, "beside the instances");
    let rules = properties(&templates, "BalancerGroup")["SecurityGroupIngress"].clone();
    let ranges: Vec<&Value> = rules.as_array().unwrap().iter().map(|it| &it["CidrIp"]).collect();
    assert_eq!(ranges, ["10.0.0.0/8", "192.168.4.0/22", "10.0.0.0/8", "192.168.4.0/22"]);
    let told = findings(ISOLATED, |templates| {
        let group = templates[0].resources.get_mut("BalancerGroup").unwrap();
        group.properties["SecurityGroupIngress"][0]["CidrIp"] = json!("0.0.0.0/0");
    });
    assert!(told.contains("and the balancer is for private networks"), "{told}");
}

#[test]
fn a_balancer_of_connections_tells_the_proxy_who_asks() {
    let (plan, templates) = made(STREAM);
    assert_eq!(properties(&templates, "Balancer")["Type"], "network");
    let listener = properties(&templates, "SecureListener");
    assert_eq!(
        (&listener["Protocol"], &listener["AlpnPolicy"]),
        (&json!("TLS"), &json!(["HTTP2Preferred"]))
    );
    for id in ["EdgeTargets", "PlainTargets"] {
        let attributes = properties(&templates, id)["TargetGroupAttributes"].to_string();
        assert!(
            attributes.contains(r#"{"Key":"proxy_protocol_v2.enabled","Value":"true"}"#),
            "{id}"
        );
    }
    let fleet = properties(&templates, "EdgeFleet");
    assert_eq!(
        fleet["TargetGroupARNs"],
        json!([{ "Ref": "EdgeTargets" }, { "Ref": "PlainTargets" }])
    );
    assert!(of_kind(&templates, "AWS::WAFv2::WebACL").is_empty(), "it takes no firewall");
    let alarm = properties(&templates, "EdgeErrorsAlarm");
    assert!(
        alarm.to_string().contains("FILL(failed0, 0)"),
        "failures are counted in the log: {alarm}"
    );
    let document = &plan.edge_files[0].text;
    assert!(document.contains("proxy_protocol: required"), "{document}");
    assert!(!document.contains("client_address_header"), "{document}");
}

#[test]
fn a_certificate_of_ones_own_is_read_by_the_instances() {
    let (plan, templates) = made(PASSTHROUGH);
    assert_eq!(properties(&templates, "SecureListener")["Protocol"], "TCP");
    assert!(of_kind(&templates, "AWS::CertificateManager::Certificate").is_empty());
    let role = properties(&templates, "EdgeRole").to_string();
    assert!(role.contains("secret:live-example-com-??????"), "{role}");
    let paths: Vec<&str> = plan.edge_files.iter().map(|file| file.path).collect();
    for path in ["/usr/local/sbin/proxy-certificate", "/etc/systemd/system/forebay-refresh.timer"] {
        assert!(paths.contains(&path), "{path}: {paths:?}");
    }
    let unit = plan.edge_files.iter().find(|file| file.path.ends_with("forebay-proxy.service"));
    assert!(unit.unwrap().text.contains("ExecStartPre=+/usr/local/sbin/proxy-certificate\n"));
    // Services that the file names have endpoints, and the way out stays.
    properties(&templates, "SqsEndpoint");
    properties(&templates, "NatA");
}

#[test]
fn tasks_run_on_machines_that_come_and_go_with_them() {
    let (_, templates) = made(ENCODING);
    let service = properties(&templates, "EncodeService");
    assert_eq!(
        service["CapacityProviderStrategy"][0]["CapacityProvider"],
        json!({ "Ref": "EncodersCapacity" })
    );
    let portal = properties(&templates, "PortalService");
    assert_eq!(portal["CapacityProviderStrategy"][0]["CapacityProvider"], "FARGATE");
    let capacity = &properties(&templates, "EncodersCapacity")["AutoScalingGroupProvider"];
    assert_eq!(capacity["ManagedScaling"]["Status"], "ENABLED");
    assert_eq!(capacity["ManagedTerminationProtection"], "ENABLED");
    let machines = properties(&templates, "EncodersMachines");
    assert_eq!((&machines["MinSize"], &machines["MaxSize"]), (&json!("0"), &json!("15")));
    assert_eq!(machines["NewInstancesProtectedFromScaleIn"], true);
    let policy = &machines["MixedInstancesPolicy"];
    assert_eq!(policy["LaunchTemplate"]["Overrides"].as_array().map(Vec::len), Some(3));
    assert_eq!(policy["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"], 0);
    let task = properties(&templates, "EncodeTask");
    assert_eq!(task["RequiresCompatibilities"], json!(["EC2"]));
    let data = &properties(&templates, "EncodersLaunchTemplate")["LaunchTemplateData"];
    let script = data["UserData"].to_string();
    assert!(script.contains("ECS_CLUSTER=$cluster") && script.contains("${Cluster}"), "{script}");
    // A service keeps its tasks when a zone is lost: machines come in another.
    let (_, templates) = made(PASSTHROUGH);
    assert_eq!(
        properties(&templates, "PortalTask")["RuntimePlatform"]["CpuArchitecture"],
        "X86_64"
    );
    let told = findings(PASSTHROUGH, |templates| {
        let media = templates.iter_mut().find(|it| it.stack == Stack::Media).unwrap();
        let machines = media.resources.get_mut("PortalMachines").unwrap();
        machines.properties["VPCZoneIdentifier"] =
            json!([{ "Fn::ImportValue": "passthrough-network-AppSubnetA" }]);
    });
    assert!(told.contains("media/PortalMachines: has machines in one zone"), "{told}");
}

#[test]
fn whatever_the_proxy_asks_elsewhere_is_let_out() {
    let environment = validate::environment(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/estates/asking.yaml"),
    );
    let environment = environment.unwrap_or_else(|problems| panic!("{problems}"));
    let plan = estate::resolve(&environment).unwrap().unwrap();
    let templates = template::build(&plan).unwrap();
    assert_eq!(check::all(&plan, &templates), []);
    let out = properties(&templates, "EdgeGroup")["SecurityGroupEgress"].clone();
    let mut rules: Vec<String> = out
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{}/{}", it["IpProtocol"].as_str().unwrap(), it["ToPort"]))
        .collect();
    rules.sort();
    // The collector, AWS and the keys of tokens, Redis that counts, Redis that carries purges, pages, logs.
    let expected = ["tcp/4318", "tcp/443", "tcp/6379", "tcp/6380", "tcp/8443", "udp/514"];
    assert_eq!(rules, expected);
}

#[test]
fn purges_are_carried_by_the_environments_cache() {
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/estates/asking.yaml"),
    )
    .unwrap()
    .replace("redis://purges.example.com:6380", "redis://cache:6379");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("asking.yaml");
    std::fs::write(&file, text + "cache: { node: cache.t4g.small }\n").unwrap();
    let environment = validate::environment(&file).unwrap_or_else(|problems| panic!("{problems}"));
    let plan = estate::resolve(&environment).unwrap().unwrap();
    assert!(plan.edge_uses_cache);
    let templates = template::build(&plan).unwrap();
    assert_eq!(properties(&templates, "EdgeToCache6379Out")["ToPort"], 6379);
    assert_eq!(check::all(&plan, &templates), []);
}
