//! What each type of resource is charged for. The facts are read from the template, where it stands
//! what is made: nothing is taken from the environment.

use rust_decimal::Decimal;
use serde_json::Value;

use super::HOURS;
use super::prices::{self, Fleet};

/// How a resource is charged.
pub(super) enum Charge {
    Free,
    /// By requests, bytes or seconds of use.
    ByUse,
    Monthly {
        what: String,
        always: Decimal,
        most: Decimal,
    },
    /// It costs something, and the table does not say what.
    Unknown(String),
}

/// Types that cost what they are used.
const BY_USE: [&str; 16] = [
    "AWS::Backup::BackupVault",
    "AWS::CloudFront::Distribution",
    "AWS::DynamoDB::Table",
    "AWS::ECR::Repository",
    "AWS::EFS::FileSystem",
    "AWS::EC2::FlowLog",
    "AWS::Events::Rule",
    "AWS::Lambda::Function",
    "AWS::Logs::LogGroup",
    "AWS::MediaConvert::Queue",
    "AWS::RDS::DBCluster",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::Scheduler::Schedule",
    "AWS::StepFunctions::StateMachine",
];

/// Services and types that are not charged by themselves: permissions, places, names, rules.
const FREE: [&str; 34] = [
    "AWS::ApplicationAutoScaling::",
    "AWS::AutoScaling::ScalingPolicy",
    "AWS::Backup::BackupPlan",
    "AWS::Backup::BackupSelection",
    "AWS::Budgets::Budget",
    "AWS::CertificateManager::Certificate",
    "AWS::CloudFront::",
    "AWS::EC2::EIP",
    "AWS::EC2::InternetGateway",
    "AWS::EC2::LaunchTemplate",
    "AWS::EC2::Route",
    "AWS::EC2::SecurityGroup",
    "AWS::EC2::Subnet",
    "AWS::EC2::VPC",
    "AWS::ECS::CapacityProvider",
    "AWS::ECS::Cluster",
    "AWS::ECS::TaskDefinition",
    "AWS::ElastiCache::ParameterGroup",
    "AWS::ElastiCache::SubnetGroup",
    "AWS::ElasticLoadBalancingV2::",
    "AWS::IAM::",
    "AWS::KMS::Alias",
    "AWS::Lambda::",
    "AWS::Logs::",
    "AWS::RDS::DBClusterParameterGroup",
    "AWS::RDS::DBParameterGroup",
    "AWS::RDS::DBProxyTargetGroup",
    "AWS::RDS::DBSubnetGroup",
    "AWS::Route53::RecordSet",
    "AWS::S3::BucketPolicy",
    "AWS::SecretsManager::RotationSchedule",
    "AWS::SNS::",
    "AWS::SQS::QueuePolicy",
    "AWS::WAFv2::WebACLAssociation",
];

/// What a resource among others of its template is charged.
pub(super) fn charged(region: &str, all: &Value, id: &str, resource: &Value) -> Charge {
    let kind = resource["Type"].as_str().unwrap_or_default();
    let properties = &resource["Properties"];
    let of = Priced { region, all, properties };
    let charge = match kind {
        "AWS::AutoScaling::AutoScalingGroup" => of.fleet(),
        "AWS::CloudWatch::Alarm" => of.alarm(),
        "AWS::CloudWatch::Dashboard" => of.flat("dashboard"),
        "AWS::EC2::EIP" => of.hours("public_ipv4", "public address", 1),
        "AWS::EC2::NatGateway" => of.hours("nat", "gateway; traffic by use", 1),
        "AWS::EC2::VPCEndpoint" if properties["VpcEndpointType"] == "Interface" => {
            let places = properties["SubnetIds"].as_array().map_or(1, Vec::len);
            of.hours("interface_endpoint", "endpoints; traffic by use", places)
        }
        "AWS::ECS::Service" => of.tasks(id),
        "AWS::ElastiCache::ReplicationGroup" => of.cache(),
        "AWS::ElasticLoadBalancingV2::LoadBalancer" => of.balancer(),
        "AWS::KMS::Key" => of.flat("key"),
        "AWS::RDS::DBInstance" => of.database(),
        "AWS::RDS::DBProxy" => of.database_proxy(id),
        "AWS::Logs::MetricFilter" => of.custom_metric(),
        "AWS::Route53::HostedZone" => of.flat("hosted_zone"),
        "AWS::SecretsManager::Secret" => of.flat("secret"),
        "AWS::WAFv2::WebACL" => of.firewall(),
        _ if BY_USE.contains(&kind) => return Charge::ByUse,
        _ if FREE.iter().any(|free| kind.starts_with(free)) => return Charge::Free,
        _ => return Charge::Unknown(format!("{kind} is not in the table")),
    };
    charge.unwrap_or_else(|| {
        Charge::Unknown(format!("{kind}: what it is has no price in the table, or not in {region}"))
    })
}

/// A resource whose price is looked for.
struct Priced<'a> {
    region: &'a str,
    /// The resources of its template, itself among them.
    all: &'a Value,
    properties: &'a Value,
}

fn monthly(what: impl Into<String>, always: Decimal, most: Decimal) -> Option<Charge> {
    Some(Charge::Monthly { what: what.into(), always, most })
}

/// A number, written as one or as text.
fn number(value: &Value) -> Option<Decimal> {
    value.as_u64().map(Decimal::from).or_else(|| value.as_str()?.parse().ok())
}

fn count(number: usize) -> Decimal {
    Decimal::from(number)
}

impl Priced<'_> {
    fn flat(&self, name: &str) -> Option<Charge> {
        let price = prices::monthly(self.region, name)?;
        monthly(name.replace('_', " "), price, price)
    }

    fn hours(&self, name: &str, what: &str, times: usize) -> Option<Charge> {
        let price = prices::hourly(self.region, name)? * Decimal::from(HOURS) * count(times);
        monthly(what, price, price)
    }

    /// Instances with their disks, from the least to the most there may be.
    fn fleet(&self) -> Option<Charge> {
        let mixed = &self.properties["MixedInstancesPolicy"]["LaunchTemplate"];
        let launch = self.properties["LaunchTemplate"]["LaunchTemplateId"]["Ref"]
            .as_str()
            .or_else(|| mixed["LaunchTemplateSpecification"]["LaunchTemplateId"]["Ref"].as_str())?;
        let data = &self.all[launch]["Properties"]["LaunchTemplateData"];
        // Of several types the first is the one that is wished for; spare capacity costs less.
        let first = mixed["Overrides"][0]["InstanceType"].as_str();
        let kind = first.or_else(|| data["InstanceType"].as_str())?;
        let hour = prices::instance(self.region, Fleet::Ec2, kind)?;
        let mut each = hour * Decimal::from(HOURS);
        let disk = prices::monthly(self.region, "ebs_gp3_gib")?;
        for volume in data["BlockDeviceMappings"].as_array().into_iter().flatten() {
            each += disk * number(&volume["Ebs"]["VolumeSize"])?;
        }
        if data["Monitoring"]["Enabled"] == true {
            each += prices::monthly(self.region, "instance_metrics")?;
        }
        let (min, max) =
            (number(&self.properties["MinSize"])?, number(&self.properties["MaxSize"])?);
        monthly(format!("{min} to {max} × {kind}"), each * min, each * max)
    }

    /// An alarm is charged for each metric it looks at.
    fn alarm(&self) -> Option<Charge> {
        let metrics = self.properties["Metrics"].as_array();
        let looked =
            metrics.map_or(1, |all| all.iter().filter(|it| !it["MetricStat"].is_null()).count());
        let price = prices::monthly(self.region, "alarm_metric")? * count(looked.max(1));
        monthly("alarm", price, price)
    }

    /// A metric of a log is charged for each value of its dimensions, of which there are a few.
    fn custom_metric(&self) -> Option<Charge> {
        let split = !self.properties["MetricTransformations"][0]["Dimensions"].is_null();
        let price = prices::monthly(self.region, "custom_metric")?;
        let price = price * count(if split { 4 } else { 1 });
        monthly("metric of a log", price, price)
    }

    fn balancer(&self) -> Option<Charge> {
        let network = self.properties["Type"] == "network";
        let name = if network { "network_balancer" } else { "application_balancer" };
        let mut hour = prices::hourly(self.region, name)?;
        if self.properties["Scheme"] == "internet-facing" {
            let places = self.properties["Subnets"].as_array().map_or(2, Vec::len);
            hour += prices::hourly(self.region, "public_ipv4")? * count(places);
        }
        let price = hour * Decimal::from(HOURS);
        monthly("balancer; traffic by use", price, price)
    }

    fn database(&self) -> Option<Charge> {
        let kind = self.properties["DBInstanceClass"].as_str()?;
        let engine = self.properties["Engine"].as_str()?;
        let hours = Decimal::from(HOURS);
        if !self.properties["DBClusterIdentifier"].is_null() {
            let price = prices::instance(self.region, Fleet::Aurora, kind)? * hours;
            return monthly(format!("{kind}; storage by use"), price, price);
        }
        let postgres = engine == "postgres";
        let mut price = prices::instance(self.region, Fleet::Database(postgres), kind)? * hours;
        let gib = number(&self.properties["AllocatedStorage"])?;
        let storage = prices::monthly(self.region, "rds_gp3_gib")?;
        // It grows by itself, which is the most there may be.
        let grown = number(&self.properties["MaxAllocatedStorage"]).unwrap_or(gib);
        let (mut most, mut what) = (price + storage * grown, format!("{kind}, {gib} GiB"));
        price += storage * gib;
        if self.properties["MultiAZ"] == true {
            (price, most) = (price * Decimal::TWO, most * Decimal::TWO);
            what.push_str(", in two zones");
        }
        monthly(what, price, most)
    }

    /// The proxy is charged by the processors of the database behind it.
    fn database_proxy(&self, id: &str) -> Option<Charge> {
        let all = self.all.as_object()?;
        let own = |it: &&Value| it["Properties"]["DBProxyName"]["Ref"] == id;
        let targets = &all.values().find(own)?["Properties"];
        let instance = match targets["DBClusterIdentifiers"][0]["Ref"].as_str() {
            Some(cluster) => {
                all.values().find(|it| it["Properties"]["DBClusterIdentifier"]["Ref"] == cluster)?
            }
            None => all.get(targets["DBInstanceIdentifiers"][0]["Ref"].as_str()?)?,
        };
        let processors = prices::processors(instance["Properties"]["DBInstanceClass"].as_str()?)?;
        let hour = prices::hourly(self.region, "database_proxy_cpu")? * processors;
        let price = hour * Decimal::from(HOURS);
        monthly(format!("proxy of {processors} processors"), price, price)
    }

    fn cache(&self) -> Option<Charge> {
        let kind = self.properties["CacheNodeType"].as_str()?;
        let valkey = self.properties["Engine"] == "valkey";
        let node = prices::instance(self.region, Fleet::Cache(valkey), kind)?;
        let groups = number(&self.properties["NumNodeGroups"]).unwrap_or(Decimal::ONE);
        let replicas = number(&self.properties["ReplicasPerNodeGroup"]).unwrap_or_default();
        let nodes = groups * (replicas + Decimal::ONE);
        let price = node * nodes * Decimal::from(HOURS);
        monthly(format!("{nodes} × {kind}"), price, price)
    }

    fn firewall(&self) -> Option<Charge> {
        let rules = self.properties["Rules"].as_array().map_or(0, Vec::len);
        let price = prices::monthly(self.region, "firewall")?
            + prices::monthly(self.region, "firewall_rule")? * count(rules);
        monthly(format!("firewall of {rules} rules; requests by use"), price, price)
    }

    /// Tasks at the price of capacity that is sure, spare capacity too.
    fn tasks(&self, id: &str) -> Option<Charge> {
        let task = self.properties["TaskDefinition"]["Ref"].as_str()?;
        let task = &self.all[task]["Properties"];
        if task["RequiresCompatibilities"][0] == "EC2" {
            // The machines are what is paid for.
            return Some(Charge::Free);
        }
        let arm = task["RuntimePlatform"]["CpuArchitecture"] == "ARM64";
        let price = |what: &str| {
            let family = if arm { "arm" } else { "x86" };
            prices::hourly(self.region, &format!("fargate_{family}_{what}"))
        };
        let (cpu, memory) = (number(&task["Cpu"])?, number(&task["Memory"])?);
        let kib = Decimal::from(1024);
        let mut hour = price("cpu")? * cpu / kib + price("gib")? * memory / kib;
        let free = Decimal::from(20);
        let disk = number(&task["EphemeralStorage"]["SizeInGiB"]).unwrap_or(free);
        hour += prices::hourly(self.region, "fargate_disk_gib")? * (disk - free);
        let each = hour * Decimal::from(HOURS);
        let scaled = |it: &&Value| {
            it["Type"] == "AWS::ApplicationAutoScaling::ScalableTarget"
                && it["Properties"]["ResourceId"].to_string().contains(&format!("\"{id}\""))
        };
        let wished = number(&self.properties["DesiredCount"])?;
        let scale = self.all.as_object()?.values().find(scaled).map(|it| &it["Properties"]);
        let (min, max) = match scale {
            Some(scale) => (number(&scale["MinCapacity"])?, number(&scale["MaxCapacity"])?),
            None => (wished, wished),
        };
        let what = format!("{min} to {max} tasks of {cpu} shares, {memory} MiB");
        monthly(what, each * min, each * max)
    }
}
