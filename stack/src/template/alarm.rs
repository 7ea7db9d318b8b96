//! CloudWatch alarms: each says what is wrong and tells the estate's topic.

use serde_json::{Value, json};

use super::{Resource, Stack, value};
use crate::estate::EstatePlan;

/// A metric and when it is too much.
pub struct Alarm<'a> {
    pub why: &'a str,
    pub namespace: &'a str,
    pub metric: &'a str,
    pub dimensions: Vec<(&'a str, Value)>,
    pub statistic: &'a str,
    /// `GreaterThanThreshold`, `LessThanThreshold`, …
    pub when: &'a str,
    pub threshold: f64,
    /// Minutes in a row.
    pub minutes: u32,
}

impl Alarm<'_> {
    pub fn resource(&self, plan: &EstatePlan) -> Resource {
        let topic = value::import(plan, Stack::Network, "Topic");
        let dimensions: Vec<Value> = self
            .dimensions
            .iter()
            .map(|(name, value)| json!({ "Name": name, "Value": value }))
            .collect();
        // p99 and the like are extended statistics, in a property of their own.
        let statistic =
            if self.statistic.starts_with('p') { "ExtendedStatistic" } else { "Statistic" };
        let properties = json!({
            "AlarmDescription": self.why,
            "Namespace": self.namespace,
            "MetricName": self.metric,
            "Dimensions": dimensions,
            statistic: self.statistic,
            "ComparisonOperator": self.when,
            "Threshold": self.threshold,
            "Period": 60,
            "EvaluationPeriods": self.minutes,
            "TreatMissingData": "notBreaching",
            "AlarmActions": [topic],
            "OKActions": [topic],
        });
        Resource::new("AWS::CloudWatch::Alarm", self.why, properties)
    }
}
