//! Endpoints of AWS's services within the network, in every zone, for whoever belongs to the account.

use serde_json::{Value, json};

use super::value::{attribute, reference, sub};
use super::{Resource, Template, camel};
use crate::estate::EstatePlan;
use crate::estate::endpoints::Endpoint;
use crate::estate::subnets::Tier;

pub(super) fn add(template: &mut Template, plan: &EstatePlan) {
    let tier = plan.subnets.iter().filter(|subnet| subnet.tier == Tier::App);
    let subnets: Vec<Value> = tier.map(|subnet| reference(&subnet.id())).collect();
    for Endpoint { service, why } in &plan.endpoints {
        let mut properties = json!({
            "VpcId": reference("Vpc"),
            "ServiceName": sub(format!("com.amazonaws.${{AWS::Region}}.{service}")),
            "VpcEndpointType": "Interface",
            "PrivateDnsEnabled": true,
            "SubnetIds": subnets,
            "SecurityGroupIds": [attribute("EndpointsGroup", "GroupId")],
        });
        // Instances show CloudFormation a document of identity, which no account has signed.
        if service != "cloudformation" {
            properties["PolicyDocument"] = own_account_only(plan);
        }
        let id = format!("{}Endpoint", camel(&service.replace('.', "-")));
        template.add(id, Resource::new("AWS::EC2::VPCEndpoint", why, properties));
    }
}

/// Nothing leaves through an endpoint with the credentials of another account.
fn own_account_only(plan: &EstatePlan) -> Value {
    json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
        "Condition": { "StringEquals": { "aws:PrincipalAccount": plan.aws().account } },
    }] })
}
