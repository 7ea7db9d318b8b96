//! What the edge's own log says, as metrics, alarms and a dashboard: by lane, which no balancer knows.

use serde_json::{Value, json};

use super::alarm::Alarm;
use super::value::{attribute, reference};
use super::{Resource, Template};
use crate::environment::aws::Balancer;
use crate::estate::EstatePlan;
use crate::estate::instance;

/// Milliseconds that one transaction in a hundred may take.
const TRANSACTION_MS: f64 = 250.0;

/// A metric of the log: its name, which lines count (by fields of `proxy/src/access_log.rs`), what of
/// each, whether lanes are told apart, what for.
type Counted = (&'static str, &'static str, &'static str, bool, &'static str);

const COUNTED: [Counted; 4] = [
    ("Requests", "{ $.lane = * }", "1", true, "requests of each lane"),
    (
        "Failures",
        "{ ($.lane = *) && ($.status >= 500) }",
        "1",
        true,
        "answers of each lane that are failures",
    ),
    ("Limited", "{ $.status = 429 }", "1", false, "requests over a limit"),
    (
        "TransactionMilliseconds",
        "{ ($.lane = \"transactions\") && ($.status < 500) }",
        "$.duration_ms",
        false,
        "how long transactions take",
    ),
];

/// Nothing where the log has another form than the proxy's own, or holds a part of the requests.
pub(super) fn add(template: &mut Template, plan: &EstatePlan) {
    if plan.logged_lanes.is_empty() {
        return;
    }
    let namespace = instance::namespace(plan);
    for (name, pattern, value, by_lane, why) in COUNTED {
        let mut metric = json!({
            "MetricNamespace": namespace,
            "MetricName": name,
            "MetricValue": value,
        });
        if by_lane {
            metric["Dimensions"] = json!([{ "Key": "Lane", "Value": "$.lane" }]);
        }
        let properties = json!({
            "LogGroupName": reference("EdgeLogs"),
            "FilterPattern": pattern,
            "MetricTransformations": [metric],
        });
        let kind = "AWS::Logs::MetricFilter";
        template.add(format!("{name}Metric"), Resource::new(kind, why, properties));
    }
    let slow = Alarm {
        why: "one transaction in a hundred takes a quarter of a second or more",
        namespace: &namespace,
        metric: "TransactionMilliseconds",
        dimensions: Vec::new(),
        statistic: "p99",
        when: "GreaterThanThreshold",
        threshold: TRANSACTION_MS,
        minutes: 5,
    };
    template.add("TransactionsSlowAlarm", slow.resource(plan));
    let body = json!({ "Fn::Sub": [
        json!({ "widgets": widgets(plan, &namespace) }).to_string(),
        { "Balancer": attribute("Balancer", "LoadBalancerFullName"), "Fleet": reference("EdgeFleet") },
    ] });
    let properties =
        json!({ "DashboardName": format!("{}-edge", plan.name), "DashboardBody": body });
    let why = "lanes side by side: does video hold up transactions";
    template.add("Dashboard", Resource::new("AWS::CloudWatch::Dashboard", why, properties));
}

/// Pictures in two columns, the lanes first.
fn widgets(plan: &EstatePlan, namespace: &str) -> Vec<Value> {
    let by_lane = |metric: &str| -> Vec<Value> {
        plan.logged_lanes.iter().map(|lane| json!([namespace, metric, "Lane", lane])).collect()
    };
    let of_balancer = match plan.estate.edge.balancer {
        Balancer::Application => "AWS/ApplicationELB",
        _ => "AWS/NetworkELB",
    };
    let time = |statistic: &str| json!([namespace, "TransactionMilliseconds", { "stat": statistic, "label": statistic }]);
    let balancer = |metric: &str, statistic: &str| {
        let options = json!({ "stat": statistic, "label": format!("{metric} {statistic}") });
        json!([of_balancer, metric, "LoadBalancer", "${Balancer}", options])
    };
    let of_all = match plan.estate.edge.balancer {
        Balancer::Application => {
            vec![balancer("RequestCount", "Sum"), balancer("TargetResponseTime", "p99")]
        }
        _ => vec![balancer("NewFlowCount", "Sum"), balancer("ActiveFlowCount", "Average")],
    };
    let pictures = [
        ("requests by lane", "Sum", by_lane("Requests")),
        ("failures by lane", "Sum", by_lane("Failures")),
        ("transactions, ms", "p99", vec![time("p50"), time("p99"), time("p99.9")]),
        ("requests over a limit", "Sum", vec![json!([namespace, "Limited"])]),
        ("balancer", "Sum", of_all),
        (
            "processors of the edge, %",
            "Average",
            vec![json!(["AWS/EC2", "CPUUtilization", "AutoScalingGroupName", "${Fleet}"])],
        ),
    ];
    let placed = pictures.into_iter().enumerate().map(|(index, (title, statistic, metrics))| {
        json!({
            "type": "metric", "width": 12, "height": 6, "x": index % 2 * 12, "y": index / 2 * 6,
            "properties": {
                "title": title, "stat": statistic, "period": 60, "region": plan.aws().region,
                "metrics": metrics,
            },
        })
    });
    placed.collect()
}
