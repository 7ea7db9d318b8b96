use serde_json::json;

use super::*;

fn item(resources: &Value) -> Estimate {
    of("us-east-1", [("s", &json!({ "Resources": resources }))])
}

#[test]
fn a_database_in_two_zones_costs_twice_and_grows() {
    let estimate = item(&json!({ "Database": { "Type": "AWS::RDS::DBInstance", "Properties": {
        "Engine": "mysql", "DBInstanceClass": "db.r7g.xlarge", "MultiAZ": true,
        "AllocatedStorage": "100", "MaxAllocatedStorage": 1000,
    } } }));
    // (2 × 0.239 × 730 + 0.115 × GiB) × 2
    assert_eq!(estimate.always, "720.88".parse().unwrap());
    assert_eq!(estimate.most, "927.88".parse().unwrap());
}

#[test]
fn a_fleet_costs_from_its_least_to_its_most() {
    let estimate = item(&json!({
        "Launch": { "Type": "AWS::EC2::LaunchTemplate", "Properties": { "LaunchTemplateData": {
            "InstanceType": "c7g.large", "BlockDeviceMappings": [{ "Ebs": { "VolumeSize": 20 } }],
        } } },
        "Fleet": { "Type": "AWS::AutoScaling::AutoScalingGroup", "Properties": {
            "LaunchTemplate": { "LaunchTemplateId": { "Ref": "Launch" } }, "MinSize": "2", "MaxSize": "4",
        } },
    }));
    // 0.0725 × 730 + 20 × 0.08
    assert_eq!(
        (estimate.always, estimate.most),
        ("109.05".parse().unwrap(), "218.1".parse().unwrap())
    );
    assert_eq!(estimate.items.len(), 1);
}

#[test]
fn what_has_no_price_is_told_and_not_nothing() {
    let odd = json!({ "Type": "AWS::RDS::DBInstance", "Properties": {
        "Engine": "mysql", "DBInstanceClass": "db.x9z.large", "AllocatedStorage": "20",
    } });
    let estimate = item(&json!({ "Odd": odd, "Other": { "Type": "AWS::Quantum::Computer" } }));
    assert_eq!(estimate.unknown.len(), 2, "{estimate:?}");
    let far = of(
        "mars-north-1",
        [(
            "s",
            &json!({ "Resources": {
        "Nat": { "Type": "AWS::EC2::NatGateway", "Properties": {} },
    } }),
        )],
    );
    assert!(far.unknown[0].contains("mars-north-1"), "{far:?}");
}

#[test]
fn prices_follow_the_region() {
    let nat =
        json!({ "Resources": { "Nat": { "Type": "AWS::EC2::NatGateway", "Properties": {} } } });
    let [home, away] = ["us-east-1", "eu-central-1"].map(|region| of(region, [("s", &nat)]).always);
    assert_eq!(home, "32.85".parse().unwrap());
    assert!(away > home && away < home * Decimal::TWO, "{away}");
}

#[test]
fn amounts_have_cents_and_thousands() {
    let told = |text: &str| told::dollars(text.parse().unwrap());
    assert_eq!(told("1234567.5"), "1,234,567.50");
    assert_eq!(told("-12"), "-12.00");
    assert_eq!(told("0.004"), "0.00");
}
