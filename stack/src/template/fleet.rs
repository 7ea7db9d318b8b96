//! What both fleets share: launch template, files, role, log group, rolling updates.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::value::{arn, attribute, import, lines, reference, sub};
use super::{Resource, Stack, Template, policy};
use crate::estate::EstatePlan;
use crate::estate::instance::{self, InstanceFile};
use crate::estate::subnets::Tier;

/// The parameter with the sum of the database's authorities.
const AUTHORITIES: &str = "AuthoritiesSha256";

/// One of the two fleets.
pub struct FleetParts<'a> {
    /// `Edge` or `Ledger`: begins every logical id.
    pub word: &'static str,
    /// `edge` or `ledger`: its log group.
    pub part: &'static str,
    pub kind: &'a str,
    pub files: &'a [InstanceFile],
    pub user_data: &'a str,
    pub tier: Tier,
    pub min: u32,
    pub max: u32,
    /// `ELB` where an instance that is not ready is replaced, `EC2` where one may wait.
    pub health: &'static str,
    pub targets: Vec<&'static str>,
    /// Further files, whose values only CloudFormation knows.
    pub late_files: Map<String, Value>,
    /// Whether the database's authorities come with the release.
    pub authorities: bool,
    /// What the instances may do beyond logs, metrics and releases.
    pub statements: Vec<Value>,
}

pub fn add(template: &mut Template, plan: &EstatePlan, fleet: &FleetParts<'_>) {
    release_parameters(template, fleet.authorities);
    role(template, plan, fleet);
    launch_template(template, plan, fleet);
    let word = fleet.word;
    let subnets: Vec<Value> = plan
        .subnets
        .iter()
        .filter(|subnet| subnet.tier == fleet.tier)
        .map(|subnet| import(plan, Stack::Network, &subnet.id()))
        .collect();
    let launch = format!("{word}LaunchTemplate");
    let targets: Vec<Value> = fleet.targets.iter().map(|id| reference(id)).collect();
    let properties = json!({
        "VPCZoneIdentifier": subnets,
        "LaunchTemplate": {
            "LaunchTemplateId": reference(&launch),
            "Version": attribute(&launch, "LatestVersionNumber"),
        },
        "MinSize": fleet.min.to_string(),
        "MaxSize": fleet.max.to_string(),
        "HealthCheckType": fleet.health,
        "HealthCheckGracePeriod": 300,
        "TargetGroupARNs": targets,
        "Tags": [{
            "Key": "Name",
            "Value": format!("{}-{}", plan.name, fleet.part),
            "PropagateAtLaunch": true,
        }],
    });
    let why = "keeps as many as there must be, spread over the zones";
    let mut group = Resource::new("AWS::AutoScaling::AutoScalingGroup", why, properties);
    group.creation_policy =
        Some(json!({ "ResourceSignal": { "Count": fleet.min, "Timeout": "PT15M" } }));
    group.update_policy = Some(json!({
        "AutoScalingRollingUpdate": {
            "MinInstancesInService": fleet.min,
            "MaxBatchSize": 1,
            "PauseTime": "PT15M",
            "WaitOnResourceSignals": true,
            "SuspendProcesses": ["AZRebalance", "AlarmNotification", "ScheduledActions"],
        },
    }));
    template.add(format!("{word}Fleet"), group);
}

/// What differs from release to release is handed over when a change set is made: the template of
/// an environment stays the same from one release to the next.
fn release_parameters(template: &mut Template, authorities: bool) {
    let version = json!({
        "Type": "String",
        "AllowedPattern": "[0-9A-Za-z][0-9A-Za-z.+-]{0,63}",
        "Description": "The release: forebay/VERSION/ in the bucket of releases",
    });
    let sum = |of: &str| {
        json!({
            "Type": "String",
            "AllowedPattern": "[0-9a-f]{64}",
            "Description": format!("SHA-256 of the release's {of}; an instance that gets another one starts nothing"),
        })
    };
    template.parameters.insert("ReleaseVersion".to_owned(), version);
    template.parameters.insert("ReleaseSha256".to_owned(), sum("binary"));
    if authorities {
        template.parameters.insert(AUTHORITIES.to_owned(), sum("rds-authorities.pem"));
    }
}

fn role(template: &mut Template, plan: &EstatePlan, fleet: &FleetParts<'_>) {
    let word = fleet.word;
    let log = json!({
        "LogGroupName": instance::log_group(plan, fleet.part),
        "RetentionInDays": plan.estate.network.flow_logs.as_millis() / 86_400_000,
        "KmsKeyId": import(plan, Stack::Network, "Key"),
    });
    let why = "what its instances say";
    template.add(format!("{word}Logs"), Resource::new("AWS::Logs::LogGroup", why, log));
    let mut metrics = policy::allow(&["cloudwatch:PutMetricData"], &json!("*"));
    // The action knows no resources; the namespace is what can be narrowed.
    metrics["Condition"] =
        json!({ "StringEquals": { "cloudwatch:namespace": instance::namespace(plan) } });
    let mut statements = vec![
        policy::allow(
            &["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            &attribute(&format!("{word}Logs"), "Arn"),
        ),
        metrics,
        policy::sessions(),
        policy::allow(&["s3:GetObject"], &arn(&format!("s3:::{}/forebay/*", plan.aws().releases))),
    ];
    statements.extend(fleet.statements.iter().cloned());
    let why = "what its instances may do";
    let role = policy::role("ec2.amazonaws.com", why, &statements).declined(
        "CKV_AWS_111",
        "metrics and sessions know no resources; the namespace of metrics is narrowed instead",
    );
    template.add(format!("{word}Role"), role);
    let profile = json!({ "Roles": [reference(&format!("{word}Role"))] });
    let why = "hands the role to the instances";
    template
        .add(format!("{word}Profile"), Resource::new("AWS::IAM::InstanceProfile", why, profile));
}

fn launch_template(template: &mut Template, plan: &EstatePlan, fleet: &FleetParts<'_>) {
    let word = fleet.word;
    let mut files = fleet.late_files.clone();
    for file in fleet.files {
        let entry = json!({
            "content": lines(&file.text),
            "mode": file.mode,
            "owner": "root",
            "group": "root",
        });
        files.insert(file.path.to_owned(), entry);
    }
    let sums = format!("AUTHORITIES_SHA256=${{{AUTHORITIES}}}");
    let mut release = vec!["VERSION=${ReleaseVersion}", "SHA256=${ReleaseSha256}"];
    release.extend(fleet.authorities.then_some(sums.as_str()));
    files.insert("/etc/forebay/release.env".to_owned(), late_file(&release));
    // New files or a new release must make a new launch template, or no instance would be replaced.
    let digest = hash(&json!(files).to_string());
    let script = format!(
        "{}# files {digest}, release ${{ReleaseVersion}} ${{ReleaseSha256}}\n",
        fleet.user_data
    );
    let image = format!(
        "{{{{resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{}}}}}",
        architecture(fleet.kind)
    );
    let group = import(plan, Stack::Network, &format!("{word}Group"));
    let data = json!({
        "ImageId": image,
        "InstanceType": fleet.kind,
        "IamInstanceProfile": { "Arn": attribute(&format!("{word}Profile"), "Arn") },
        "SecurityGroupIds": [group],
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
            "HttpEndpoint": "enabled",
        },
        "Monitoring": { "Enabled": true },
        "BlockDeviceMappings": [{
            "DeviceName": "/dev/xvda",
            "Ebs": {
                "VolumeType": "gp3",
                "VolumeSize": 20,
                "Encrypted": true,
                "DeleteOnTermination": true,
            },
        }],
        "UserData": { "Fn::Base64": sub_lines(&script) },
    });
    let why = "how an instance begins; its files are in the metadata, read by cfn-init";
    let launch = json!({ "LaunchTemplateData": data });
    let mut launch = Resource::new("AWS::EC2::LaunchTemplate", why, launch);
    launch
        .metadata
        .insert("AWS::CloudFormation::Init".to_owned(), json!({ "config": { "files": files } }));
    template.add(format!("{word}LaunchTemplate"), launch);
}

/// A file whose values CloudFormation fills in.
pub fn late_file(text: &[&str]) -> Value {
    let mut text = text.join("\n");
    text.push('\n');
    json!({ "content": sub(text), "mode": "000600", "owner": "root", "group": "root" })
}

/// A script in which CloudFormation fills in `${…}`, one line to a line of the template.
fn sub_lines(script: &str) -> Value {
    let lines: Vec<Value> = script
        .split('\n')
        .map(|line| if line.contains("${") { sub(line) } else { line.into() })
        .collect();
    json!({ "Fn::Join": ["\n", lines] })
}

pub(super) fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Graviton families carry a `g` after their generation: `c7g`, `m6gd`, `c7gn`, but not `g5`.
pub fn architecture(kind: &str) -> &'static str {
    let family = kind.split('.').next().unwrap_or(kind);
    let options = family.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let options = options.trim_start_matches(|c: char| c.is_ascii_digit());
    if options.contains('g') { "arm64" } else { "x86_64" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graviton_is_known_by_its_letter() {
        for arm in ["c7g.large", "m6gd.xlarge", "c7gn.metal", "t4g.small", "g5g.xlarge"] {
            assert_eq!(architecture(arm), "arm64", "{arm}");
        }
        for x86 in ["c7i.large", "m6a.xlarge", "g5.xlarge", "g4dn.xlarge", "t3.small"] {
            assert_eq!(architecture(x86), "x86_64", "{x86}");
        }
    }
}
