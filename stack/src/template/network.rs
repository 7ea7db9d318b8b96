//! The stack `network`: what all others stand on.

use serde_json::{Value, json};

use super::value::{arn, attribute, named, reference, sub};
use super::{Kept, Resource, Stack, Template, endpoints, policy};
use crate::estate::EstatePlan;
use crate::estate::flows::{Flow, Party};
use crate::estate::subnets::{Subnet, Tier, letter};

pub(super) fn build(plan: &EstatePlan) -> Template {
    let mut template =
        Template::new(plan, Stack::Network, "network, security groups, key, alarm topic.");
    vpc(&mut template, plan);
    for subnet in &plan.subnets {
        place(&mut template, plan, subnet);
    }
    routes(&mut template, plan);
    endpoints::add(&mut template, plan);
    groups(&mut template, plan);
    key(&mut template, plan);
    topic(&mut template, plan);
    if let Some(budget) = &plan.estate.budget {
        template.add("Budget", budget_of(plan, budget.monthly, &budget.email));
    }
    template
}

fn vpc(template: &mut Template, plan: &EstatePlan) {
    let vpc = json!({
        "CidrBlock": plan.estate.network.cidr,
        "EnableDnsSupport": true,
        "EnableDnsHostnames": true,
        "Tags": named(&plan.name),
    });
    template.add("Vpc", Resource::new("AWS::EC2::VPC", "the estate's own network", vpc));
    template.export("Vpc", reference("Vpc"));
    let gateway = json!({ "Tags": named(&plan.name) });
    let why = "the way between the public tier and the internet";
    template.add("InternetGateway", Resource::new("AWS::EC2::InternetGateway", why, gateway));
    let attachment = json!({
        "VpcId": reference("Vpc"),
        "InternetGatewayId": reference("InternetGateway"),
    });
    let why = "joins the two";
    template.add(
        "InternetAttachment",
        Resource::new("AWS::EC2::VPCGatewayAttachment", why, attachment),
    );
    let log = json!({
        "LogGroupName": format!("/forebay/{}/flows", plan.name),
        "RetentionInDays": plan.estate.network.flow_logs.as_millis() / 86_400_000,
        "KmsKeyId": attribute("Key", "Arn"),
    });
    template
        .add("FlowLogGroup", Resource::new("AWS::Logs::LogGroup", "who connected to whom", log));
    let write = policy::allow(
        &["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
        &attribute("FlowLogGroup", "Arn"),
    );
    let why = "lets the network write its connections down";
    template.add("FlowLogRole", policy::role("vpc-flow-logs.amazonaws.com", why, &[write]));
    let flow_log = json!({
        "ResourceType": "VPC",
        "ResourceId": reference("Vpc"),
        "TrafficType": "ALL",
        "LogDestinationType": "cloud-watch-logs",
        "LogGroupName": reference("FlowLogGroup"),
        "DeliverLogsPermissionArn": attribute("FlowLogRole", "Arn"),
    });
    template.add("FlowLog", Resource::new("AWS::EC2::FlowLog", "every connection", flow_log));
    let zone = json!({
        "Name": plan.private_zone(),
        "VPCs": [{ "VPCId": reference("Vpc"), "VPCRegion": plan.aws().region }],
    });
    let why = "names that only the estate knows: the proxy document calls the ledger by one";
    template.add("PrivateZone", Resource::new("AWS::Route53::HostedZone", why, zone));
    template.export("PrivateZone", reference("PrivateZone"));
}

/// A subnet and the routes it follows.
fn place(template: &mut Template, plan: &EstatePlan, subnet: &Subnet) {
    let id = subnet.id();
    let zones = json!({ "Fn::GetAZs": plan.aws().region });
    let properties = json!({
        "VpcId": reference("Vpc"),
        "AvailabilityZone": { "Fn::Select": [subnet.zone, zones] },
        "CidrBlock": subnet.cidr,
        "MapPublicIpOnLaunch": false,
        "Tags": named(&format!("{}-{}", plan.name, id)),
    });
    let why = match subnet.tier {
        Tier::Public => "balancers and NAT gateways",
        Tier::Edge => "instances of the proxy",
        Tier::App => "instances of the ledger",
        Tier::Data => "database and cache",
    };
    template.add(&id, Resource::new("AWS::EC2::Subnet", why, properties));
    let table = match subnet.tier {
        Tier::Public => "PublicRoutes".to_owned(),
        Tier::Edge | Tier::App => format!("PrivateRoutes{}", letter(subnet.zone)),
        Tier::Data => "DataRoutes".to_owned(),
    };
    let association = json!({ "SubnetId": reference(&id), "RouteTableId": reference(&table) });
    let why = "which routes it follows";
    let kind = "AWS::EC2::SubnetRouteTableAssociation";
    template.add(format!("{id}Routes"), Resource::new(kind, why, association));
    template.export(&id, reference(&id));
}

fn routes(template: &mut Template, plan: &EstatePlan) {
    let table = |name: &str| json!({ "VpcId": reference("Vpc"), "Tags": named(name) });
    let kind = "AWS::EC2::RouteTable";
    template.add("PublicRoutes", Resource::new(kind, "to the internet", table("public")));
    let why = "nowhere but the network itself";
    template.add("DataRoutes", Resource::new(kind, why, table("data")));
    let internet = json!({
        "RouteTableId": reference("PublicRoutes"),
        "DestinationCidrBlock": "0.0.0.0/0",
        "GatewayId": reference("InternetGateway"),
    });
    let why = "the only tier the internet reaches";
    let route = Resource::new("AWS::EC2::Route", why, internet).after("InternetAttachment");
    template.add("PublicRoute", route);
    let mut tables = Vec::new();
    for zone in plan.zones() {
        let letter_of = letter(zone);
        let id = format!("PrivateRoutes{letter_of}");
        let gateway = plan.nat_of(zone);
        let why =
            if gateway.is_some() { "out through NAT" } else { "nowhere but the network and S3" };
        template.add(&id, Resource::new(kind, why, table(&format!("private {letter_of}"))));
        tables.push(reference(&id));
        let Some(gateway) = gateway else { continue };
        let out = json!({
            "RouteTableId": reference(&id),
            "DestinationCidrBlock": "0.0.0.0/0",
            "NatGatewayId": reference(&format!("Nat{}", letter(gateway))),
        });
        template
            .add(format!("PrivateRoute{letter_of}"), Resource::new("AWS::EC2::Route", why, out));
        if gateway == zone {
            nat(template, letter_of);
        }
    }
    let endpoint = json!({
        "VpcId": reference("Vpc"),
        "ServiceName": sub("com.amazonaws.${AWS::Region}.s3"),
        "VpcEndpointType": "Gateway",
        "RouteTableIds": tables,
    });
    let why = "releases and recordings do not pass, and do not pay for, NAT";
    template.add("S3Endpoint", Resource::new("AWS::EC2::VPCEndpoint", why, endpoint));
}

fn nat(template: &mut Template, letter_of: char) {
    let address = Resource::new("AWS::EC2::EIP", "its public address", json!({ "Domain": "vpc" }));
    template.add(format!("NatAddress{letter_of}"), address.after("InternetAttachment"));
    let gateway = json!({
        "AllocationId": attribute(&format!("NatAddress{letter_of}"), "AllocationId"),
        "SubnetId": reference(&format!("PublicSubnet{letter_of}")),
    });
    let why = "private instances go out, nobody comes in";
    template.add(format!("Nat{letter_of}"), Resource::new("AWS::EC2::NatGateway", why, gateway));
}

/// A group for every party, and a rule at both ends of every flow.
fn groups(template: &mut Template, plan: &EstatePlan) {
    let mut parties: Vec<Party> = plan.flows.iter().flat_map(|flow| [flow.from, flow.to]).collect();
    parties.sort_unstable();
    parties.dedup();
    for party in parties {
        let Some(id) = party.group() else { continue };
        let out: Vec<Value> = plan
            .flows
            .iter()
            .filter(|flow| flow.from == party && flow.to.group().is_none())
            .map(|flow| rule(flow, json!({ "CidrIp": "0.0.0.0/0" })))
            .collect();
        // Without a rule of its own a group lets everything out.
        let nowhere = json!([{
            "IpProtocol": "-1", "CidrIp": "127.0.0.1/32", "Description": "nowhere but by the rules beside",
        }]);
        let inbound: Vec<Value> = plan
            .flows
            .iter()
            .filter(|flow| flow.to == party && flow.from == Party::Internet)
            .flat_map(|flow| clients(plan).into_iter().map(|range| rule(flow, range)))
            .collect();
        let mut group = json!({
            "GroupDescription": party.what(),
            "VpcId": reference("Vpc"),
            "SecurityGroupEgress": if out.is_empty() { nowhere } else { json!(out) },
            "Tags": named(&format!("{}-{}", plan.name, party.word())),
        });
        if !inbound.is_empty() {
            group["SecurityGroupIngress"] = json!(inbound);
        }
        let mut group = Resource::new("AWS::EC2::SecurityGroup", party.what(), group);
        if party == Party::Balancer {
            group = group
                .declined("CKV_AWS_260", "port 80 answers with the way to TLS and nothing else");
        }
        template.add(&id, group);
        template.export(&id, attribute(&id, "GroupId"));
    }
    for flow in &plan.flows {
        let (Some(from), Some(to)) = (flow.from.group(), flow.to.group()) else { continue };
        let end = format!("{}To{}{}", flow.from.word(), flow.to.word(), flow.port);
        let side = |own: &str, key: &str, other: &str| {
            let mut properties = rule(flow, json!({ "GroupId": attribute(own, "GroupId") }));
            properties[key] = attribute(other, "GroupId");
            properties
        };
        let out = side(&from, "DestinationSecurityGroupId", &to);
        let kind = "AWS::EC2::SecurityGroupEgress";
        template.add(format!("{end}Out"), Resource::new(kind, flow.why, out));
        let inward = side(&to, "SourceSecurityGroupId", &from);
        let kind = "AWS::EC2::SecurityGroupIngress";
        template.add(format!("{end}In"), Resource::new(kind, flow.why, inward));
    }
}

/// Where clients are: everywhere, or in the private networks that the file names.
fn clients(plan: &EstatePlan) -> Vec<Value> {
    match plan.estate.edge.only_from.as_slice() {
        [] => vec![json!({ "CidrIp": "0.0.0.0/0" })],
        ranges => ranges.iter().map(|range| json!({ "CidrIp": range })).collect(),
    }
}

fn rule(flow: &Flow, mut ends: Value) -> Value {
    ends["IpProtocol"] = flow.protocol.word().into();
    ends["FromPort"] = flow.port.into();
    ends["ToPort"] = flow.port.into();
    ends["Description"] = flow.why.into();
    ends
}

/// One key for all that is kept: data, secrets, logs, alarms.
fn key(template: &mut Template, plan: &EstatePlan) {
    let root = arn(&format!("iam::{}:root", plan.aws().account));
    let services = json!([
        sub("logs.${AWS::Region}.amazonaws.com"),
        "cloudwatch.amazonaws.com",
        "budgets.amazonaws.com",
    ]);
    let mut policy = json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Administered",
                "Effect": "Allow",
                "Principal": { "AWS": root },
                "Action": "kms:*",
                "Resource": "*",
            },
            {
                "Sid": "UsedByServices",
                "Effect": "Allow",
                "Principal": { "Service": services },
                "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
                "Resource": "*",
            },
        ],
    });
    if plan.estate.cdn.is_some()
        && let Some(statements) = policy["Statement"].as_array_mut()
    {
        // The distribution stands in a later stack: the account is what can be named here.
        statements.push(json!({
            "Sid": "TheCdnReads",
            "Effect": "Allow",
            "Principal": { "Service": "cloudfront.amazonaws.com" },
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": "*",
            "Condition": { "StringEquals": { "aws:SourceAccount": plan.aws().account } },
        }));
    }
    let properties = json!({
        "Description": format!("Data, secrets and logs of {}", plan.name),
        "EnableKeyRotation": true,
        "KeyPolicy": policy,
    });
    let why = "encrypts data, secrets and logs; without it they are lost, so it stays";
    template.add("Key", Resource::new("AWS::KMS::Key", why, properties).kept(Kept::Retain));
    let alias = json!({
        "AliasName": format!("alias/forebay/{}", plan.name),
        "TargetKeyId": reference("Key"),
    });
    template.add("KeyAlias", Resource::new("AWS::KMS::Alias", "the key's name", alias));
    template.export("Key", attribute("Key", "Arn"));
}

fn topic(template: &mut Template, plan: &EstatePlan) {
    let properties = json!({ "KmsMasterKeyId": reference("Key") });
    template.add("Topic", Resource::new("AWS::SNS::Topic", "where alarms are told", properties));
    if let Some(email) = &plan.estate.alarms.email {
        let subscription = json!({
            "TopicArn": reference("Topic"),
            "Protocol": "email",
            "Endpoint": email,
        });
        let why = "who is told; the first mail asks for consent";
        template.add("TopicMail", Resource::new("AWS::SNS::Subscription", why, subscription));
    }
    template.export("Topic", reference("Topic"));
}

fn budget_of(plan: &EstatePlan, monthly: u32, email: &str) -> Resource {
    let told = |kind: &str, threshold: u32| {
        json!({
            "Notification": {
                "NotificationType": kind,
                "ComparisonOperator": "GREATER_THAN",
                "Threshold": threshold,
                "ThresholdType": "PERCENTAGE",
            },
            "Subscribers": [{ "SubscriptionType": "EMAIL", "Address": email }],
        })
    };
    let properties = json!({
        "Budget": {
            "BudgetName": format!("{}-monthly", plan.name),
            "BudgetType": "COST",
            "TimeUnit": "MONTHLY",
            "BudgetLimit": { "Amount": monthly, "Unit": "USD" },
        },
        "NotificationsWithSubscribers": [told("ACTUAL", 80), told("FORECASTED", 100)],
    });
    Resource::new("AWS::Budgets::Budget", "what the account may spend", properties)
}
