//! Production on moto: what it makes of the network and of the database, told by EC2 and RDS.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::between::Kind;
use crate::mock::{RELEASES, Stage, each};

const REGION: &str = "eu-central-1";

#[test]
fn the_network_and_the_database_are_as_the_file_says() {
    let stage = Stage::of(Kind::Moto, "production", REGION);
    stage.deployed(&["--release", "1.0.0", "--binaries", "."]);
    let binary = json!({ "Bucket": RELEASES, "Key": "forebay/1.0.0/forebay-ledger" });
    let there = stage.ask("s3", "head_object", binary);
    assert_eq!(there["ContentLength"], "forebay-ledger".len(), "{there}");
    let list = |service: &str, operation: &str| stage.ask(service, operation, json!({}));
    let gateways = list("ec2", "describe_nat_gateways");
    let zones: BTreeSet<String> = each(&gateways["NatGateways"], "SubnetId").into_iter().collect();
    assert_eq!(zones.len(), 3, "one in each zone: {gateways}");
    assert_eq!(each(&list("ec2", "describe_flow_logs")["FlowLogs"], "TrafficType"), ["ALL"]);
    let rules = list("ec2", "describe_security_group_rules");
    let into = |port: u16| {
        let rules = rules["SecurityGroupRules"].as_array().expect("rules").iter();
        rules.filter(|it| it["IsEgress"] == false && it["FromPort"] == port).collect::<Vec<_>>()
    };
    let database = into(3306);
    assert_eq!(database.len(), 1, "one way into the database: {rules}");
    assert!(database[0]["ReferencedGroupInfo"]["GroupId"].is_string(), "and it is a group's");
    let public = into(443);
    assert!(public.iter().any(|it| it["CidrIpv4"] == "0.0.0.0/0"), "{rules}");
    let told = list("rds", "describe_db_instances");
    assert_eq!(each(&told["DBInstances"], "DBInstanceClass"), ["db.r7g.large"]);
    assert_eq!(told["DBInstances"][0]["AllocatedStorage"], 200);
    let fleets = || {
        let told = list("autoscaling", "describe_auto_scaling_groups");
        let sizes = |it: &Value| (it["MinSize"].as_u64(), it["MaxSize"].as_u64());
        let fleets = told["AutoScalingGroups"].as_array().expect("fleets").iter();
        fleets.map(sizes).collect::<BTreeSet<_>>()
    };
    assert!(fleets().contains(&(Some(3), Some(12))), "{:?}", fleets());
    stage.write("ledger: { instances: { count: 3 } }");
    stage.deployed(&[]);
    assert!(
        !fleets().iter().any(|(min, _)| *min == Some(2)),
        "the ledger's are three: {:?}",
        fleets()
    );
}
