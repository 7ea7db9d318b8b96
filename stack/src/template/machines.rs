//! Machines that tasks run on: groups of EC2 instances that ECS starts when tasks wait for room and stops
//! when none is on them.

use serde_json::{Value, json};

use super::value::{attribute, import, reference, sub};
use super::{Resource, Stack, Template, architecture, camel, policy};
use crate::environment::work::Capacity;
use crate::estate::EstatePlan;
use crate::estate::subnets::Tier;

/// Seconds after which a machine is replaced by one with the newest image; its tasks end first.
const LIFETIME: u32 = 7 * 86_400;

/// The capacity provider of machines, by their name in the file.
pub(super) fn provider(name: &str) -> String {
    format!("{}Capacity", camel(name))
}

/// Every kind of machines, and what the cluster may run on; nothing where all is on Fargate.
pub(super) fn add(template: &mut Template, plan: &EstatePlan) {
    let capacity = &plan.estate.capacity;
    if capacity.is_empty() {
        return;
    }
    role(template, plan);
    for (name, of) in capacity {
        launch_template(template, plan, name, of);
        group(template, plan, name, of);
        let properties = json!({ "AutoScalingGroupProvider": {
            "AutoScalingGroupArn": reference(&format!("{}Machines", camel(name))),
            "ManagedScaling": {
                "Status": "ENABLED",
                "TargetCapacity": 100,
                "InstanceWarmupPeriod": 120,
                "MaximumScalingStepSize": 10,
            },
            "ManagedTerminationProtection": "ENABLED",
            "ManagedDraining": "ENABLED",
        } });
        let why = format!("as many `{name}` as tasks need, and none for none");
        let kind = "AWS::ECS::CapacityProvider";
        template.add(provider(name), Resource::new(kind, &why, properties));
    }
    let own = capacity.keys().map(|name| reference(&provider(name)));
    let all: Vec<Value> =
        ["FARGATE", "FARGATE_SPOT"].map(Value::from).into_iter().chain(own).collect();
    let properties = json!({
        "Cluster": reference("Cluster"),
        "CapacityProviders": all,
        "DefaultCapacityProviderStrategy": [],
    });
    let kind = "AWS::ECS::ClusterCapacityProviderAssociations";
    let why = "what tasks may run on; each service says on which";
    template.add("ClusterCapacity", Resource::new(kind, why, properties));
}

/// What the agent on a machine may do: join this cluster, hear of tasks, tell how they are.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/instance_IAM_role.html>
fn role(template: &mut Template, plan: &EstatePlan) {
    let cluster = attribute("Cluster", "Arn");
    let machines = json!({ "Fn::Sub": [
        "arn:${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}:container-instance/${Name}/*",
        { "Name": reference("Cluster") },
    ] });
    let joins = [
        "ecs:DeregisterContainerInstance",
        "ecs:RegisterContainerInstance",
        "ecs:SubmitAttachmentStateChanges",
        "ecs:SubmitContainerStateChange",
        "ecs:SubmitTaskStateChange",
    ];
    let hears = ["ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"];
    let statements = [
        policy::allow(&["ecs:DiscoverPollEndpoint"], &json!("*")),
        policy::allow(&joins, &cluster),
        policy::allow(&hears, &machines),
        policy::sessions(),
    ];
    let why = format!("what machines of {} may do: run the tasks they are told", plan.name);
    let role = policy::role("ec2.amazonaws.com", &why, &statements)
        .declined("CKV_AWS_111", "sessions and the way to the agent's endpoint know no resources");
    template.add("MachinesRole", role);
    let profile = json!({ "Roles": [reference("MachinesRole")] });
    let why = "hands the role to the machines";
    template.add("MachinesProfile", Resource::new("AWS::IAM::InstanceProfile", why, profile));
}

fn launch_template(template: &mut Template, plan: &EstatePlan, name: &str, of: &Capacity) {
    let kind = of.types.first().map_or("", String::as_str);
    // The image has another path for each kind of processor; that of x86 has no name of its own.
    let processor = if architecture(kind) == "arm64" { "/arm64" } else { "" };
    let image = format!(
        "{{{{resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023{processor}/recommended/image_id}}}}"
    );
    let script: Vec<Value> = plan
        .machine_boot
        .split('\n')
        .map(|line| if line.contains("${") { sub(line) } else { line.into() })
        .collect();
    let data = json!({
        "ImageId": image,
        "InstanceType": kind,
        "IamInstanceProfile": { "Arn": attribute("MachinesProfile", "Arn") },
        "SecurityGroupIds": [import(plan, Stack::Network, "MachinesGroup")],
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
                "VolumeSize": of.disk.as_bytes() >> 30,
                "Encrypted": true,
                "DeleteOnTermination": true,
            },
        }],
        "UserData": { "Fn::Base64": { "Fn::Join": ["\n", script] } },
    });
    let why = format!("how one of `{name}` begins: it joins the cluster");
    let launch = json!({ "LaunchTemplateData": data });
    let id = format!("{}LaunchTemplate", camel(name));
    template.add(id, Resource::new("AWS::EC2::LaunchTemplate", &why, launch));
}

fn group(template: &mut Template, plan: &EstatePlan, name: &str, of: &Capacity) {
    let launch = format!("{}LaunchTemplate", camel(name));
    let tier = plan.subnets.iter().filter(|subnet| subnet.tier == Tier::App);
    let subnets: Vec<Value> =
        tier.map(|subnet| import(plan, Stack::Network, &subnet.id())).collect();
    let types: Vec<Value> = of.types.iter().map(|it| json!({ "InstanceType": it })).collect();
    let tag =
        |key: &str, value: &str| json!({ "Key": key, "Value": value, "PropagateAtLaunch": true });
    let properties = json!({
        "VPCZoneIdentifier": subnets,
        "MinSize": of.min.to_string(),
        "MaxSize": of.max.to_string(),
        "MixedInstancesPolicy": {
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {
                    "LaunchTemplateId": reference(&launch),
                    "Version": attribute(&launch, "LatestVersionNumber"),
                },
                "Overrides": types,
            },
            "InstancesDistribution": {
                "OnDemandAllocationStrategy": "prioritized",
                "OnDemandBaseCapacity": 0,
                "OnDemandPercentageAboveBaseCapacity": if of.spot { 0 } else { 100 },
                "SpotAllocationStrategy": "price-capacity-optimized",
            },
        },
        "CapacityRebalance": of.spot,
        "MaxInstanceLifetime": LIFETIME,
        // ECS takes the protection off a machine that no task is on.
        "NewInstancesProtectedFromScaleIn": true,
        "Tags": [tag("AmazonECSManaged", "true"), tag("Name", &format!("{}-{name}", plan.name))],
    });
    let why = format!("from {} to {} machines, over all zones", of.min, of.max);
    let kind = "AWS::AutoScaling::AutoScalingGroup";
    template.add(format!("{}Machines", camel(name)), Resource::new(kind, &why, properties));
}
