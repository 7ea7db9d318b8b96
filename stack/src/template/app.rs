//! The stack `app`: the ledger, one instance active and the others waiting.

use serde_json::{Map, Value, json};

use super::alarm::Alarm;
use super::fleet::{self, FleetParts};
use super::value::{attribute, import, reference};
use super::{Resource, Stack, Template, policy};
use crate::estate::subnets::Tier;
use crate::estate::{EstatePlan, LEDGER_ADMIN_PORT, LEDGER_PORT};

pub(super) fn build(plan: &EstatePlan) -> Template {
    let mut template = Template::new(plan, Stack::App, "the ledger and its internal balancer.");
    balancer(&mut template, plan);
    let Some((standby, _)) = &plan.estate.ledger else { return template };
    let secrets = ["DatabaseSecret", "LedgerAdminKey"].map(|name| import(plan, Stack::Data, name));
    let mut decrypt = policy::allow(&["kms:Decrypt"], &import(plan, Stack::Network, "Key"));
    let service = format!("secretsmanager.{}.amazonaws.com", plan.aws().region);
    decrypt["Condition"] = json!({ "StringEquals": { "kms:ViaService": service } });
    let parts = FleetParts {
        word: "Ledger",
        part: "ledger",
        kind: &standby.kind,
        files: &plan.ledger_files,
        user_data: &plan.ledger_boot,
        tier: Tier::App,
        min: standby.count,
        max: standby.count + 1,
        // One that waits is not ready and must not be replaced for it.
        health: "EC2",
        targets: vec!["LedgerTargets"],
        late_files: database_file(plan),
        authorities: plan.is_isolated(),
        statements: vec![
            policy::allow(&["secretsmanager:GetSecretValue"], &json!(secrets)),
            decrypt,
        ],
    };
    fleet::add(&mut template, plan, &parts);
    alarms(&mut template, plan);
    template
}

/// Where the ledger finds its database; only the stack knows.
fn database_file(plan: &EstatePlan) -> Map<String, Value> {
    let values = json!({
        "Host": import(plan, Stack::Data, "DatabaseHost"),
        "Secret": import(plan, Stack::Data, "DatabaseSecret"),
        "Key": import(plan, Stack::Data, "LedgerAdminKey"),
    });
    let mut entry = fleet::late_file(&[]);
    entry["content"] =
        json!({ "Fn::Sub": ["HOST=${Host}\nSECRET=${Secret}\nADMIN_KEY=${Key}\n", values] });
    Map::from_iter([("/etc/forebay/database.env".to_owned(), entry)])
}

fn balancer(template: &mut Template, plan: &EstatePlan) {
    let subnets: Vec<Value> = plan
        .subnets
        .iter()
        .filter(|subnet| subnet.tier == Tier::App)
        .map(|subnet| import(plan, Stack::Network, &subnet.id()))
        .collect();
    let on = |key: &str, value: &str| json!({ "Key": key, "Value": value });
    let properties = json!({
        "Type": "network",
        "Scheme": "internal",
        "Subnets": subnets,
        "SecurityGroups": [import(plan, Stack::Network, "LedgerBalancerGroup")],
        "LoadBalancerAttributes": [
            on("load_balancing.cross_zone.enabled", "true"),
            on("deletion_protection.enabled", "true"),
        ],
    });
    let why = "addresses that never change, before whichever instance is active";
    let kind = "AWS::ElasticLoadBalancingV2::LoadBalancer";
    let balancer = Resource::new(kind, why, properties).declined(
        "CKV_AWS_91",
        "a network balancer logs TLS listeners only; who connected is in the flow logs",
    );
    template.add("LedgerBalancer", balancer);
    let targets = json!({
        "Protocol": "TCP",
        "Port": LEDGER_PORT,
        "TargetType": "instance",
        "VpcId": import(plan, Stack::Network, "Vpc"),
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPort": LEDGER_ADMIN_PORT.to_string(),
        "HealthCheckPath": "/readyz",
        "HealthCheckIntervalSeconds": 5,
        // Left out it is 6 seconds, which is refused: a look ends before the next begins.
        "HealthCheckTimeoutSeconds": 3,
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 2,
        "TargetGroupAttributes": [
            on("deregistration_delay.timeout_seconds", "30"),
            // The balancer's own group is then what the instances let in.
            on("preserve_client_ip.enabled", "false"),
        ],
    });
    let why = "only the active one is ready, so only it gets transfers";
    let kind = "AWS::ElasticLoadBalancingV2::TargetGroup";
    template.add("LedgerTargets", Resource::new(kind, why, targets));
    let listener = json!({
        "LoadBalancerArn": reference("LedgerBalancer"),
        "Protocol": "TCP",
        "Port": LEDGER_PORT,
        "DefaultActions": [{ "Type": "forward", "TargetGroupArn": reference("LedgerTargets") }],
    });
    let kind = "AWS::ElasticLoadBalancingV2::Listener";
    template.add("LedgerListener", Resource::new(kind, "passes transfers on", listener));
    let name = json!({
        "HostedZoneId": import(plan, Stack::Network, "PrivateZone"),
        "Name": format!("ledger.{}", plan.private_zone()),
        "Type": "A",
        "AliasTarget": {
            "DNSName": attribute("LedgerBalancer", "DNSName"),
            "HostedZoneId": attribute("LedgerBalancer", "CanonicalHostedZoneID"),
        },
    });
    let why = "what the proxy document calls the ledger";
    template.add("LedgerName", Resource::new("AWS::Route53::RecordSet", why, name));
}

fn alarms(template: &mut Template, plan: &EstatePlan) {
    let alarm = Alarm {
        why: "no ledger is ready: transfers are refused",
        namespace: "AWS/NetworkELB",
        metric: "HealthyHostCount",
        dimensions: vec![
            ("LoadBalancer", attribute("LedgerBalancer", "LoadBalancerFullName")),
            ("TargetGroup", attribute("LedgerTargets", "TargetGroupFullName")),
        ],
        statistic: "Maximum",
        when: "LessThanThreshold",
        threshold: 1.0,
        minutes: 1,
    };
    template.add("LedgerReadyAlarm", alarm.resource(plan));
}
