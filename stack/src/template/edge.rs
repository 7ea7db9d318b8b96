//! The stack `edge`: the public balancer and the proxy behind it.

use serde_json::{Map, Value, json};

use super::alarm::Alarm;
use super::fleet::{self, FleetParts};
use super::value::{attribute, import, reference};
use super::{Resource, Stack, Template, access, front, observe, policy};
use crate::environment::aws::Balancer;
use crate::environment::work::Wants;
use crate::estate::subnets::Tier;
use crate::estate::{EstatePlan, PROXY_ADMIN_PORT, PROXY_PORT};

pub(super) fn build(plan: &EstatePlan) -> Template {
    let mut template = Template::new(plan, Stack::Edge, "the public balancer and the proxy.");
    if plan.estate.edge.balancer == Balancer::Application {
        balancer(&mut template, plan);
        alarms(&mut template, plan);
    } else {
        front::add(&mut template, plan);
    }
    names(&mut template, plan);
    if plan.estate.edge.waf {
        firewall(&mut template, plan);
    }
    let instances = &plan.estate.edge.instances;
    let cache = ["cache".to_owned()];
    let uses = if plan.edge_uses_cache { &cache[..] } else { &[] };
    let wants = Wants { uses, reads: &[], writes: &[], sends: &[], takes: None };
    let mut statements = access::may_read_secrets(plan, wants);
    if let Some(secret) = &plan.estate.edge.certificate {
        // An ARN that was written may lack the six characters AWS puts behind the name.
        let secrets = json!([secret, format!("{secret}-??????")]);
        statements.push(policy::allow(&["secretsmanager:GetSecretValue"], &secrets));
    }
    let parts = FleetParts {
        word: "Edge",
        part: "edge",
        kind: &instances.kind,
        files: &plan.edge_files,
        user_data: &plan.edge_boot,
        tier: Tier::Edge,
        min: instances.min,
        max: instances.max,
        health: "ELB",
        targets: front::targets(plan),
        late_files: cache_file(plan),
        authorities: false,
        statements,
    };
    fleet::add(&mut template, plan, &parts);
    let scaling = json!({
        "AutoScalingGroupName": reference("EdgeFleet"),
        "PolicyType": "TargetTrackingScaling",
        "EstimatedInstanceWarmup": 120,
        "TargetTrackingConfiguration": {
            "PredefinedMetricSpecification": { "PredefinedMetricType": "ASGAverageCPUUtilization" },
            "TargetValue": instances.cpu_target.as_fraction() * 100.0,
        },
    });
    let why = "as many instances as the work needs";
    template.add("EdgeScaling", Resource::new("AWS::AutoScaling::ScalingPolicy", why, scaling));
    observe::add(&mut template, plan);
    template
}

/// Where the proxy finds its cache; only the stack knows.
fn cache_file(plan: &EstatePlan) -> Map<String, Value> {
    if !plan.edge_uses_cache {
        return Map::new();
    }
    let values = json!({
        "Host": import(plan, Stack::Data, "CacheHost"),
        "Secret": import(plan, Stack::Data, "CacheSecret"),
    });
    let mut entry = fleet::late_file(&[]);
    entry["content"] = json!({ "Fn::Sub": ["HOST=${Host}\nSECRET=${Secret}\n", values] });
    Map::from_iter([("/etc/forebay/cache.env".to_owned(), entry)])
}

fn balancer(template: &mut Template, plan: &EstatePlan) {
    let subnets = front::subnets(plan);
    let on = |key: &str, value: Value| json!({ "Key": key, "Value": value });
    let properties = json!({
        "Type": "application",
        "Scheme": front::scheme(plan),
        "Subnets": subnets,
        "SecurityGroups": [import(plan, Stack::Network, "BalancerGroup")],
        "LoadBalancerAttributes": [
            on("access_logs.s3.enabled", "true".into()),
            on("access_logs.s3.bucket", import(plan, Stack::Data, "AccessLogs")),
            on("deletion_protection.enabled", "true".into()),
            on("idle_timeout.timeout_seconds", "60".into()),
            on("routing.http.drop_invalid_header_fields.enabled", "true".into()),
            on("routing.http.desync_mitigation_mode", "defensive".into()),
        ],
    });
    let why = "the only thing of the estate the internet reaches";
    let kind = "AWS::ElasticLoadBalancingV2::LoadBalancer";
    template.add("Balancer", Resource::new(kind, why, properties));
    let targets = json!({
        "Protocol": "HTTP",
        "Port": PROXY_PORT,
        "TargetType": "instance",
        "VpcId": import(plan, Stack::Network, "Vpc"),
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPort": PROXY_ADMIN_PORT.to_string(),
        "HealthCheckPath": "/readyz",
        "HealthCheckIntervalSeconds": 5,
        "HealthCheckTimeoutSeconds": 3,
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 2,
        "TargetGroupAttributes": [
            on("deregistration_delay.timeout_seconds", "60".into()),
            // A slow film must not draw more films to the instance that happens to count least.
            on("load_balancing.algorithm.type", "least_outstanding_requests".into()),
        ],
    });
    let why = "instances of the proxy that say they are ready";
    let kind = "AWS::ElasticLoadBalancingV2::TargetGroup";
    template.add("EdgeTargets", Resource::new(kind, why, targets));
    let kind = "AWS::ElasticLoadBalancingV2::Listener";
    let secure = json!({
        "LoadBalancerArn": reference("Balancer"),
        "Protocol": "HTTPS",
        "Port": 443,
        "SslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
        "Certificates": [{ "CertificateArn": reference("Certificate") }],
        "DefaultActions": [{ "Type": "forward", "TargetGroupArn": reference("EdgeTargets") }],
    });
    template.add("SecureListener", Resource::new(kind, "TLS 1.2 and 1.3", secure));
    let plain = json!({
        "LoadBalancerArn": reference("Balancer"),
        "Protocol": "HTTP",
        "Port": 80,
        "DefaultActions": [{
            "Type": "redirect",
            "RedirectConfig": { "Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301" },
        }],
    });
    template.add("PlainListener", Resource::new(kind, "sends everyone to TLS", plain));
}

fn names(template: &mut Template, plan: &EstatePlan) {
    let edge = &plan.estate.edge;
    if edge.balancer != Balancer::Passthrough {
        let certificate = json!({
            "DomainName": edge.domain,
            "ValidationMethod": "DNS",
            "DomainValidationOptions": [{
                "DomainName": edge.domain,
                "HostedZoneId": edge.hosted_zone,
            }],
        });
        let why = "proved by DNS, renewed by itself";
        let kind = "AWS::CertificateManager::Certificate";
        template.add("Certificate", Resource::new(kind, why, certificate));
    }
    let target = json!({
        "DNSName": attribute("Balancer", "DNSName"),
        "HostedZoneId": attribute("Balancer", "CanonicalHostedZoneID"),
        "EvaluateTargetHealth": true,
    });
    let name = json!({
        "HostedZoneId": edge.hosted_zone,
        "Name": edge.domain,
        "Type": "A",
        "AliasTarget": target,
    });
    let why = "the name people reach it by";
    template.add("Name", Resource::new("AWS::Route53::RecordSet", why, name));
}

fn firewall(template: &mut Template, plan: &EstatePlan) {
    let seen = |name: &str| {
        json!({
            "CloudWatchMetricsEnabled": true,
            "SampledRequestsEnabled": true,
            "MetricName": format!("{}-{name}", plan.name),
        })
    };
    let managed = |priority: u32, name: &str| {
        json!({
            "Name": name,
            "Priority": priority,
            "OverrideAction": { "None": {} },
            "Statement": { "ManagedRuleGroupStatement": { "VendorName": "AWS", "Name": name } },
            "VisibilityConfig": seen(name),
        })
    };
    let properties = json!({
        "Scope": "REGIONAL",
        "DefaultAction": { "Allow": {} },
        "VisibilityConfig": seen("firewall"),
        "Rules": [
            managed(0, "AWSManagedRulesAmazonIpReputationList"),
            managed(1, "AWSManagedRulesKnownBadInputsRuleSet"),
        ],
    });
    let why = "refuses known bad addresses and known bad input before the proxy sees them";
    template.add("Firewall", Resource::new("AWS::WAFv2::WebACL", why, properties));
    let joined = json!({
        "ResourceArn": reference("Balancer"),
        "WebACLArn": attribute("Firewall", "Arn"),
    });
    let kind = "AWS::WAFv2::WebACLAssociation";
    template.add("FirewallPlace", Resource::new(kind, "before the balancer", joined));
}

fn alarms(template: &mut Template, plan: &EstatePlan) {
    let balancer = || ("LoadBalancer", attribute("Balancer", "LoadBalancerFullName"));
    let targets = || ("TargetGroup", attribute("EdgeTargets", "TargetGroupFullName"));
    let unhealthy = Alarm {
        why: "an instance of the proxy is not ready",
        namespace: "AWS/ApplicationELB",
        metric: "UnHealthyHostCount",
        dimensions: vec![balancer(), targets()],
        statistic: "Maximum",
        when: "GreaterThanThreshold",
        threshold: 0.0,
        minutes: 5,
    };
    template.add("EdgeUnhealthyAlarm", unhealthy.resource(plan));
    let slow = Alarm {
        why: "one answer in a hundred takes a quarter of a second or more to begin",
        metric: "TargetResponseTime",
        dimensions: vec![balancer(), targets()],
        statistic: "p99",
        threshold: 0.25,
        ..unhealthy
    };
    template.add("EdgeSlowAlarm", slow.resource(plan));
    template.add("EdgeErrorsAlarm", errors(plan));
}

/// A share needs two metrics and a sum, which a plain alarm cannot say.
fn errors(plan: &EstatePlan) -> Resource {
    let share = front::errors_max(plan);
    let metric = |id: &str, name: &str| {
        json!({
            "Id": id,
            "ReturnData": false,
            "MetricStat": {
                "Period": 60,
                "Stat": "Sum",
                "Metric": {
                    "Namespace": "AWS/ApplicationELB",
                    "MetricName": name,
                    "Dimensions": [{
                        "Name": "LoadBalancer",
                        "Value": attribute("Balancer", "LoadBalancerFullName"),
                    }],
                },
            },
        })
    };
    let why = "too many of all answers are failures";
    let topic = import(plan, Stack::Network, "Topic");
    let properties = json!({
        "AlarmDescription": why,
        "Metrics": [
            metric("failed", "HTTPCode_Target_5XX_Count"),
            metric("all", "RequestCount"),
            {
                "Id": "share",
                "Expression": "100 * FILL(failed, 0) / all",
                "Label": "failures in percent",
                "ReturnData": true,
            },
        ],
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": share,
        "EvaluationPeriods": 3,
        "TreatMissingData": "notBreaching",
        "AlarmActions": [topic],
        "OKActions": [topic],
    });
    Resource::new("AWS::CloudWatch::Alarm", why, properties)
}
