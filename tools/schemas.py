#!/usr/bin/env python3
"""Refreshes stack/schemas/aws.json.gz from the official resource schemas that the cfn-lint wheel carries.

Usage: tools/schemas.py [--check]   (with the python of target/judges, which has cfn-lint)

Kept of each schema: what a property may be, and which properties are create-only, read-only or
write-only. Prose goes: it is ten times the rest. The same input gives the same bytes.
"""
import gzip
import json
import pathlib
import sys

import cfnlint

TYPES = """
ApplicationAutoScaling::ScalableTarget ApplicationAutoScaling::ScalingPolicy
AutoScaling::AutoScalingGroup AutoScaling::ScalingPolicy Budgets::Budget
CertificateManager::Certificate CloudFront::CachePolicy CloudFront::Distribution CloudFront::KeyGroup
CloudFront::OriginAccessControl CloudFront::PublicKey CloudFront::ResponseHeadersPolicy CloudWatch::Alarm CloudWatch::Dashboard EC2::EIP EC2::FlowLog
EC2::InternetGateway EC2::LaunchTemplate EC2::NatGateway EC2::Route EC2::RouteTable
EC2::SecurityGroup EC2::SecurityGroupEgress EC2::SecurityGroupIngress EC2::Subnet
EC2::SubnetRouteTableAssociation EC2::VPC EC2::VPCEndpoint EC2::VPCGatewayAttachment
ECS::CapacityProvider ECS::Cluster ECS::ClusterCapacityProviderAssociations ECS::Service ECS::TaskDefinition
ElastiCache::ParameterGroup ElastiCache::ReplicationGroup ElastiCache::SubnetGroup
ElasticLoadBalancingV2::Listener ElasticLoadBalancingV2::LoadBalancer
ElasticLoadBalancingV2::TargetGroup IAM::InstanceProfile IAM::Role KMS::Alias KMS::Key
Lambda::Function Lambda::Permission Lambda::Url Logs::LogGroup Logs::MetricFilter MediaConvert::Queue
RDS::DBCluster RDS::DBClusterParameterGroup RDS::DBInstance RDS::DBParameterGroup RDS::DBProxy
RDS::DBProxyTargetGroup RDS::DBSubnetGroup
Route53::HostedZone Route53::RecordSet S3::Bucket S3::BucketPolicy SNS::Subscription SNS::Topic
SNS::TopicPolicy SQS::Queue SQS::QueuePolicy SecretsManager::RotationSchedule
SecretsManager::Secret WAFv2::WebACL WAFv2::WebACLAssociation
Backup::BackupPlan Backup::BackupSelection Backup::BackupVault
CloudTrail::Trail CloudWatch::CompositeAlarm DynamoDB::Table EC2::Instance EC2::SecurityGroupVpcAssociation ECR::Repository
EFS::AccessPoint EFS::FileSystem EFS::MountTarget ElastiCache::ServerlessCache Events::EventBus Events::Rule
GuardDuty::Detector IAM::Group IAM::ManagedPolicy IAM::Policy IAM::User Kinesis::Stream KinesisFirehose::DeliveryStream
Lambda::Alias Lambda::EventSourceMapping Lambda::LayerVersion Lambda::Version Logs::SubscriptionFilter
Route53::HealthCheck S3::AccessPoint SSM::Parameter Scheduler::Schedule StepFunctions::StateMachine WAFv2::IPSet
""".split()

PROSE = {"description", "$comment", "title", "examples", "default"}
KEPT = [
    "properties", "patternProperties", "definitions", "required", "additionalProperties", "oneOf", "anyOf", "allOf",
    "dependentRequired", "dependentExcluded", "requiredXor",
    "createOnlyProperties", "conditionalCreateOnlyProperties", "readOnlyProperties",
]


def plain(value, is_properties=False):
    """Without prose. A property may itself be called `description`: names of properties stay."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        # The end of the text, as ECMA-262 (and so JSON Schema) writes it.
        return value.replace("\\Z", "$")
    if not isinstance(value, dict):
        return value
    kept = {key: plain(inner, key in ("properties", "patternProperties", "definitions"))
            for key, inner in sorted(value.items()) if is_properties or key not in PROSE}
    return kept


def main():
    folder = pathlib.Path(cfnlint.__file__).parent / "data/schemas"
    names = json.loads((folder / "providers/us-east-1.json").read_text())
    schemas = {}
    for name in sorted(TYPES):
        schema = json.loads((folder / "resources" / (names["AWS::" + name] + ".json")).read_text())
        schemas["AWS::" + name] = plain({key: schema[key] for key in KEPT if key in schema})
    text = json.dumps(schemas, separators=(",", ":"), sort_keys=True).encode()
    packed = gzip.compress(text, 9, mtime=0)
    target = pathlib.Path(__file__).parent.parent / "stack/schemas/aws.json.gz"
    if "--check" in sys.argv:
        sys.exit(0 if target.read_bytes() == packed else "stack/schemas/aws.json.gz is not what this cfn-lint carries")
    target.write_bytes(packed)
    print(f"{len(schemas)} types, {len(text)} bytes, {len(packed)} packed")


main()
