//! A public balancer of connections: addresses that never change, the PROXY protocol to the proxy behind it,
//! TLS ended here or passed on as it comes.

use serde_json::{Value, json};

use super::alarm::Alarm;
use super::value::{attribute, import, reference};
use super::{Resource, Stack, Template};
use crate::environment::aws::Balancer;
use crate::estate::document::READY_PATH;
use crate::estate::{EstatePlan, PROXY_PLAIN_PORT, PROXY_PORT, instance};

const BALANCER: &str = "AWS::ElasticLoadBalancingV2::LoadBalancer";
const TARGETS: &str = "AWS::ElasticLoadBalancingV2::TargetGroup";
const LISTENER: &str = "AWS::ElasticLoadBalancingV2::Listener";

pub(super) fn add(template: &mut Template, plan: &EstatePlan) {
    balancer(template, plan);
    listeners(template, plan);
    template.add("EdgeTargets", group(plan, PROXY_PORT, "instances of the proxy that are ready"));
    let why = "those that come without TLS, to be sent to it";
    template.add("PlainTargets", group(plan, PROXY_PLAIN_PORT, why));
    alarms(template, plan);
}

/// Where the balancer stands: where the internet reaches it, or beside the instances.
pub(super) fn subnets(plan: &EstatePlan) -> Vec<Value> {
    let own = plan.subnets.iter().filter(|subnet| subnet.tier == plan.balancer_tier());
    own.map(|subnet| import(plan, Stack::Network, &subnet.id())).collect()
}

/// Whether the balancer has public addresses.
pub(super) fn scheme(plan: &EstatePlan) -> &'static str {
    if plan.estate.edge.only_from.is_empty() { "internet-facing" } else { "internal" }
}

/// What instances of the edge are targets of.
pub(super) fn targets(plan: &EstatePlan) -> Vec<&'static str> {
    match plan.estate.edge.balancer {
        Balancer::Application => vec!["EdgeTargets"],
        Balancer::Network | Balancer::Passthrough => vec!["EdgeTargets", "PlainTargets"],
    }
}

/// Failures in percent above which the edge is in trouble.
pub(super) fn errors_max(plan: &EstatePlan) -> f64 {
    plan.estate.alarms.errors_max.map_or(1.0, |max| max.as_fraction() * 100.0)
}

fn balancer(template: &mut Template, plan: &EstatePlan) {
    let on = |key: &str, value: Value| json!({ "Key": key, "Value": value });
    let ends_tls = plan.estate.edge.balancer == Balancer::Network;
    let mut attributes = vec![
        on("load_balancing.cross_zone.enabled", "true".into()),
        on("deletion_protection.enabled", "true".into()),
    ];
    if ends_tls {
        let bucket = import(plan, Stack::Data, "AccessLogs");
        attributes.push(on("access_logs.s3.enabled", "true".into()));
        attributes.push(on("access_logs.s3.bucket", bucket));
    }
    let properties = json!({
        "Type": "network",
        "Scheme": scheme(plan),
        "Subnets": subnets(plan),
        "SecurityGroups": [import(plan, Stack::Network, "BalancerGroup")],
        "LoadBalancerAttributes": attributes,
    });
    let why = "the only thing of the estate that clients reach";
    let mut balancer = Resource::new(BALANCER, why, properties);
    if !ends_tls {
        let why = "a network balancer logs TLS listeners only; who connected is in the flow logs";
        balancer = balancer.declined("CKV_AWS_91", why);
    }
    template.add("Balancer", balancer);
}

fn listeners(template: &mut Template, plan: &EstatePlan) {
    let mut secure = json!({
        "LoadBalancerArn": reference("Balancer"),
        "Protocol": "TCP",
        "Port": 443,
        "DefaultActions": [{ "Type": "forward", "TargetGroupArn": reference("EdgeTargets") }],
    });
    let mut why = "TLS as it comes; it ends at the proxy";
    if plan.estate.edge.balancer == Balancer::Network {
        secure["Protocol"] = "TLS".into();
        secure["SslPolicy"] = "ELBSecurityPolicy-TLS13-1-2-2021-06".into();
        secure["Certificates"] = json!([{ "CertificateArn": reference("Certificate") }]);
        secure["AlpnPolicy"] = json!(["HTTP2Preferred"]);
        why = "TLS 1.2 and 1.3, and HTTP/2 for whoever speaks it";
    }
    template.add("SecureListener", Resource::new(LISTENER, why, secure));
    let plain = json!({
        "LoadBalancerArn": reference("Balancer"),
        "Protocol": "TCP",
        "Port": 80,
        "DefaultActions": [{ "Type": "forward", "TargetGroupArn": reference("PlainTargets") }],
    });
    template
        .add("PlainListener", Resource::new(LISTENER, "the proxy sends everyone to TLS", plain));
}

/// Targets on a port of the proxy. Whether one is ready is asked on the port of requests, for looks begin
/// with the PROXY protocol too.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html#proxy-protocol>
fn group(plan: &EstatePlan, port: u16, why: &str) -> Resource {
    let on = |key: &str, value: &str| json!({ "Key": key, "Value": value });
    let passes = plan.estate.edge.balancer == Balancer::Passthrough;
    let properties = json!({
        "Protocol": "TCP",
        "Port": port,
        "TargetType": "instance",
        "VpcId": import(plan, Stack::Network, "Vpc"),
        "HealthCheckProtocol": if passes { "HTTPS" } else { "HTTP" },
        "HealthCheckPort": PROXY_PORT.to_string(),
        "HealthCheckPath": READY_PATH,
        "HealthCheckIntervalSeconds": 5,
        "HealthCheckTimeoutSeconds": 3,
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 2,
        "Matcher": { "HttpCode": "200" },
        "TargetGroupAttributes": [
            on("proxy_protocol_v2.enabled", "true"),
            // The balancer's own group is then what the instances let in.
            on("preserve_client_ip.enabled", "false"),
            on("deregistration_delay.timeout_seconds", "60"),
            on("deregistration_delay.connection_termination.enabled", "true"),
        ],
    });
    Resource::new(TARGETS, why, properties)
}

fn alarms(template: &mut Template, plan: &EstatePlan) {
    let balancer = ("LoadBalancer", attribute("Balancer", "LoadBalancerFullName"));
    let targets = ("TargetGroup", attribute("EdgeTargets", "TargetGroupFullName"));
    let unhealthy = Alarm {
        why: "an instance of the proxy is not ready",
        namespace: "AWS/NetworkELB",
        metric: "UnHealthyHostCount",
        dimensions: vec![balancer, targets],
        statistic: "Maximum",
        when: "GreaterThanThreshold",
        threshold: 0.0,
        minutes: 5,
    };
    template.add("EdgeUnhealthyAlarm", unhealthy.resource(plan));
    if !plan.logged_lanes.is_empty() {
        template.add("EdgeErrorsAlarm", errors(plan));
    }
}

/// A balancer of connections knows no answers: what failed is in the proxy's own log, lane by lane.
fn errors(plan: &EstatePlan) -> Resource {
    let namespace = instance::namespace(plan);
    let metric = |id: &str, name: &str, lane: &str| {
        json!({
            "Id": id,
            "ReturnData": false,
            "MetricStat": { "Period": 60, "Stat": "Sum", "Metric": {
                "Namespace": namespace,
                "MetricName": name,
                "Dimensions": [{ "Name": "Lane", "Value": lane }],
            } },
        })
    };
    let mut metrics = Vec::new();
    let (mut failed, mut all) = (Vec::new(), Vec::new());
    for (number, lane) in plan.logged_lanes.iter().enumerate() {
        let (bad, any) = (format!("failed{number}"), format!("all{number}"));
        metrics.push(metric(&bad, "Failures", lane));
        metrics.push(metric(&any, "Requests", lane));
        failed.push(format!("FILL({bad}, 0)"));
        all.push(format!("FILL({any}, 0)"));
    }
    metrics.push(json!({
        "Id": "share",
        "Expression": format!("100 * ({}) / ({})", failed.join(" + "), all.join(" + ")),
        "Label": "failures in percent",
        "ReturnData": true,
    }));
    let why = "too many of all answers are failures";
    let topic = import(plan, Stack::Network, "Topic");
    let properties = json!({
        "AlarmDescription": why,
        "Metrics": metrics,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": errors_max(plan),
        "EvaluationPeriods": 3,
        "TreatMissingData": "notBreaching",
        "AlarmActions": [topic],
        "OKActions": [topic],
    });
    Resource::new("AWS::CloudWatch::Alarm", why, properties)
}
