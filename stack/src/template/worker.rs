//! Containers, on Fargate or on machines of one's own: task, service, roles, and how many of them there
//! are.

use serde_json::{Map, Value, json};

use super::value::{arn, attribute, import, reference};
use super::{
    Resource, Stack, Template, access, architecture, camel, machines, policy, scaling, service,
};
use crate::environment::work::{Wants, Worker};
use crate::estate::EstatePlan;
use crate::estate::subnets::Tier;

/// The cluster all tasks are in.
pub(super) fn cluster(template: &mut Template, plan: &EstatePlan) {
    let mut properties = json!({
        // The number of tasks that run is a metric of it, which scaling needs.
        "ClusterSettings": [{ "Name": "containerInsights", "Value": "enabled" }],
        "Configuration": { "ManagedStorageConfiguration": {
            "KmsKeyId": import(plan, Stack::Network, "Key"),
        } },
    });
    let why = if plan.estate.capacity.is_empty() {
        properties["CapacityProviders"] = json!(["FARGATE", "FARGATE_SPOT"]);
        "where tasks run; nobody has a machine of it"
    } else {
        // Machines name the cluster they belong to: what it may run on is said beside it.
        "where tasks run"
    };
    template.add("Cluster", Resource::new("AWS::ECS::Cluster", why, properties));
    machines::add(template, plan);
}

pub(super) fn add(template: &mut Template, plan: &EstatePlan, name: &str, worker: &Worker) {
    let id = camel(name);
    let log = json!({
        "LogGroupName": format!("/forebay/{}/{name}", plan.name),
        "RetentionInDays": plan.estate.network.flow_logs.as_millis() / 86_400_000,
        "KmsKeyId": import(plan, Stack::Network, "Key"),
    });
    let why = format!("what `{name}` says");
    template.add(format!("{id}Logs"), Resource::new("AWS::Logs::LogGroup", &why, log));
    roles(template, plan, name, worker);
    let task = task(plan, name, worker);
    let why = format!("one task of `{name}`");
    template.add(format!("{id}Task"), Resource::new("AWS::ECS::TaskDefinition", &why, task));
    let group = if worker.port.is_some() { "ServicesGroup" } else { "WorkersGroup" };
    let subnets: Vec<Value> = plan
        .subnets
        .iter()
        .filter(|subnet| subnet.tier == Tier::App)
        .map(|subnet| import(plan, Stack::Network, &subnet.id()))
        .collect();
    let mut properties = json!({
        "Cluster": reference("Cluster"),
        "TaskDefinition": reference(&format!("{id}Task")),
        // Scaling decides from here on; a deployment begins with what there must be.
        "DesiredCount": worker.min(),
        "CapacityProviderStrategy": capacity(worker),
        "DeploymentConfiguration": {
            "MaximumPercent": 200,
            "MinimumHealthyPercent": 100,
            "DeploymentCircuitBreaker": { "Enable": true, "Rollback": true },
        },
        "NetworkConfiguration": { "AwsvpcConfiguration": {
            "AssignPublicIp": "DISABLED",
            "SecurityGroups": [import(plan, Stack::Network, group)],
            "Subnets": subnets,
        } },
        "PropagateTags": "SERVICE",
    });
    let mut after = Vec::new();
    if worker.capacity.is_some() {
        after.push("ClusterCapacity".to_owned());
    }
    if let Some(port) = worker.port {
        properties["HealthCheckGracePeriodSeconds"] = 60.into();
        properties["LoadBalancers"] = json!([{
            "ContainerName": name,
            "ContainerPort": port,
            "TargetGroupArn": reference(&format!("{id}Targets")),
        }]);
        service::targets(template, plan, name, worker, port);
        after.push(format!("{id}Listener"));
    }
    let why = format!("as many tasks of `{name}` as there must be");
    let mut service = Resource::new("AWS::ECS::Service", &why, properties);
    service.depends_on = after;
    template.add(format!("{id}Service"), service);
    scaling::add(template, plan, name, worker);
}

/// What is spare first where a task may be taken away, and what is sure behind it.
fn capacity(worker: &Worker) -> Value {
    if let Some(name) = &worker.capacity {
        json!([{ "CapacityProvider": reference(&machines::provider(name)), "Weight": 1 }])
    } else if worker.spot {
        json!([
            { "CapacityProvider": "FARGATE_SPOT", "Weight": 4 },
            { "CapacityProvider": "FARGATE", "Weight": 1 },
        ])
    } else {
        json!([{ "CapacityProvider": "FARGATE", "Weight": 1 }])
    }
}

/// The role that starts a task, and the one it has while it runs.
fn roles(template: &mut Template, plan: &EstatePlan, name: &str, worker: &Worker) {
    let id = camel(name);
    let wants = Wants::from(worker);
    let mut starts = access::may_pull(&worker.image);
    starts.push(policy::allow(
        &["logs:CreateLogStream", "logs:PutLogEvents"],
        &attribute(&format!("{id}Logs"), "Arn"),
    ));
    starts.extend(access::may_read_secrets(plan, wants));
    let service = "ecs-tasks.amazonaws.com";
    let why = format!("starts tasks of `{name}`: image, log, secrets");
    let role = policy::role(service, &why, &starts);
    template.add(format!("{id}StartRole"), role);
    let mut runs = access::may_use(plan, wants);
    // A task that works asks not to be the one that is stopped.
    runs.push(policy::allow(
        &["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"],
        &json!({ "Fn::Sub": [
            "arn:${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}:task/${Name}/*",
            { "Name": reference("Cluster") },
        ] }),
    ));
    if worker.media_convert {
        runs.extend(media_convert(template, plan, name, worker));
    }
    let why = format!("what tasks of `{name}` may do");
    template.add(format!("{id}Role"), policy::role(service, &why, &runs));
}

/// A queue of MediaConvert for this worker, the role it takes on, and permission to hand it jobs.
fn media_convert(
    template: &mut Template,
    plan: &EstatePlan,
    name: &str,
    worker: &Worker,
) -> Vec<Value> {
    let id = camel(name);
    let queue = json!({ "Description": format!("Videos of {name}"), "PricingPlan": "ON_DEMAND" });
    let why = format!("videos `{name}` hands over");
    template.add(format!("{id}Convert"), Resource::new("AWS::MediaConvert::Queue", &why, queue));
    let wants = Wants { uses: &[], sends: &[], takes: None, ..Wants::from(worker) };
    let why = "reads what is converted, writes what comes of it";
    let role = policy::role("mediaconvert.amazonaws.com", why, &access::may_use(plan, wants));
    template.add(format!("{id}ConvertRole"), role);
    let queue = attribute(&format!("{id}Convert"), "Arn");
    let jobs = arn(&format!("mediaconvert:{}:{}:jobs/*", plan.aws().region, plan.aws().account));
    let mut hand = policy::allow(&["iam:PassRole"], &attribute(&format!("{id}ConvertRole"), "Arn"));
    let service = "mediaconvert.amazonaws.com";
    hand["Condition"] = json!({ "StringEquals": { "iam:PassedToService": service } });
    vec![
        policy::allow(&["mediaconvert:CreateJob"], &queue),
        policy::allow(&["mediaconvert:CancelJob", "mediaconvert:GetJob"], &jobs),
        hand,
    ]
}

fn task(plan: &EstatePlan, name: &str, worker: &Worker) -> Value {
    let id = camel(name);
    let wants = Wants::from(worker);
    let mut variables: Vec<Value> = access::variables(plan, wants)
        .into_iter()
        .map(|(name, value)| json!({ "Name": name, "Value": value }))
        .collect();
    if worker.media_convert {
        let queue = attribute(&format!("{id}Convert"), "Arn");
        let role = attribute(&format!("{id}ConvertRole"), "Arn");
        variables.push(json!({ "Name": "MEDIA_CONVERT_QUEUE", "Value": queue }));
        variables.push(json!({ "Name": "MEDIA_CONVERT_ROLE", "Value": role }));
    }
    let own = worker.environment.iter();
    variables.extend(own.map(|(name, value)| json!({ "Name": name, "Value": value })));
    let secrets: Vec<Value> = access::secrets(plan, wants)
        .into_iter()
        .map(|(name, secret, key)| {
            let from =
                json!({ "Fn::Sub": ["${Secret}:".to_owned() + key + "::", { "Secret": secret }] });
            json!({ "Name": name, "ValueFrom": from })
        })
        .collect();
    let mut container = Map::from_iter([
        ("Name".to_owned(), json!(name)),
        ("Image".to_owned(), json!(worker.image)),
        ("Essential".to_owned(), json!(true)),
        ("Environment".to_owned(), json!(variables)),
        ("StopTimeout".to_owned(), json!(120)),
        ("ReadonlyRootFilesystem".to_owned(), json!(true)),
        ("MountPoints".to_owned(), json!([{ "SourceVolume": "work", "ContainerPath": "/tmp" }])),
        (
            "LogConfiguration".to_owned(),
            json!({
                "LogDriver": "awslogs",
                "Options": {
                    "awslogs-group": reference(&format!("{id}Logs")),
                    "awslogs-region": plan.aws().region,
                    "awslogs-stream-prefix": name,
                },
            }),
        ),
    ]);
    if !secrets.is_empty() {
        container.insert("Secrets".to_owned(), json!(secrets));
    }
    if !worker.command.is_empty() {
        container.insert("Command".to_owned(), json!(worker.command));
    }
    if let Some(port) = worker.port {
        let ports = json!([{ "ContainerPort": port, "Protocol": "tcp" }]);
        container.insert("PortMappings".to_owned(), ports);
    }
    let (runs_on, processor) = place(plan, worker);
    let mut task = json!({
        "Family": format!("{}-{name}", plan.name),
        "NetworkMode": "awsvpc",
        "RequiresCompatibilities": [runs_on],
        "Cpu": worker.cpu.to_string(),
        "Memory": (worker.memory.as_bytes() >> 20).to_string(),
        "RuntimePlatform": { "CpuArchitecture": processor, "OperatingSystemFamily": "LINUX" },
        "ExecutionRoleArn": attribute(&format!("{id}StartRole"), "Arn"),
        "TaskRoleArn": attribute(&format!("{id}Role"), "Arn"),
        "ContainerDefinitions": [container],
        "Volumes": [{ "Name": "work" }],
    });
    if let Some(disk) = worker.disk {
        task["EphemeralStorage"] = json!({ "SizeInGiB": disk.as_bytes() >> 30 });
    }
    task
}

/// What a task needs to run on, and for which processor its image is made.
fn place(plan: &EstatePlan, worker: &Worker) -> (&'static str, &'static str) {
    let machines = worker.capacity.as_ref().and_then(|name| plan.estate.capacity.get(name));
    let kind = machines.and_then(|it| it.types.first()).map_or("arm64", |it| architecture(it));
    let processor = if kind == "arm64" { "ARM64" } else { "X86_64" };
    (if machines.is_some() { "EC2" } else { "FARGATE" }, processor)
}
