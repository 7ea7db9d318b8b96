//! The templates of the shipped environments: as they were reviewed, the same every time, and each
//! fault that the offline checks exist for is found when it is put in.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

use forebay_stack::environment::aws::Balancer::{self, Application, Network, Passthrough};
use forebay_stack::environment::aws::{Engine, Nat, ZoneLoss};
use forebay_stack::environment::{Edge, Environment};
use forebay_stack::estate::{self, EstatePlan};
use forebay_stack::template::{self, Stack, Template};
use forebay_stack::{check, validate};
use proptest::prelude::*;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn environment(name: &str) -> Environment {
    let path = root().join("environments").join(format!("{name}.yaml"));
    validate::environment(&path).unwrap_or_else(|problems| panic!("{problems}"))
}

fn production() -> (EstatePlan, Vec<Template>) {
    let plan = estate::resolve(&environment("production")).unwrap().unwrap();
    let templates = template::build(&plan).unwrap();
    (plan, templates)
}

/// `UPDATE=1` writes the templates again; read the difference before you commit it.
#[test]
fn production_is_as_it_was_reviewed() {
    let (plan, templates) = production();
    let mut wrong = Vec::new();
    for template in &templates {
        let name = format!("production-{}.json", template.stack.word());
        let golden = root().join("stack/tests/templates").join(&name);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, template.to_json()).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != template.to_json() {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?} differ from tests/templates (UPDATE=1 rewrites)");
    assert_eq!(check::all(&plan, &templates), []);
}

#[test]
fn the_same_environment_gives_the_same_bytes() {
    let bytes = || production().1.iter().map(Template::to_json).collect::<Vec<_>>();
    assert_eq!(bytes(), bytes());
}

#[test]
fn shipped_environments_are_short() {
    for entry in fs::read_dir(root().join("environments")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let written = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with('#');
        let lines = text.lines().filter(written).count();
        assert!(lines <= 60, "{}: {lines} lines", path.display());
    }
}

/// Breaks one template and expects to be told.
fn told(stack: Stack, id: &str, path: &str, value: Value, expected: &str) {
    let (plan, mut templates) = production();
    let template = templates.iter_mut().find(|template| template.stack == stack).unwrap();
    let resource = template.resources.get_mut(id).unwrap_or_else(|| panic!("there is no {id}"));
    match path {
        "" => resource.properties = value,
        _ => *resource.properties.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value,
    }
    let findings = check::all(&plan, &templates);
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(texts.iter().any(|text| text.contains(expected)), "{expected}: {texts:#?}");
}

#[test]
fn properties_are_held_against_the_official_schemas() {
    told(Stack::Data, "Database", "/MultiAZ", json!("perhaps"), "data/Database: /MultiAZ");
    told(Stack::Network, "Vpc", "", json!({ "CidrBlok": "10.0.0.0/16" }), "CidrBlok");
    told(Stack::Edge, "EdgeFleet", "/MaxSize", json!([]), "edge/EdgeFleet: /MaxSize");
}

#[test]
fn references_lead_somewhere() {
    let nowhere = json!({ "Ref": "Nowhere" });
    told(Stack::Network, "NatA", "/SubnetId", nowhere, "refers to `Nowhere`");
    let import = json!({ "Fn::ImportValue": "production-edge-Name" });
    told(Stack::Data, "Database", "/KmsKeyId", import, "no earlier stack exports");
    let sub = json!({ "Fn::Sub": "${Missing.Arn}/${!kept}" });
    told(Stack::Data, "AccessLogsPolicy", "/Bucket", sub, "refers to `Missing`");
}

#[test]
fn the_internet_reaches_the_balancer_and_nothing_else() {
    let open = json!({
        "GroupId": { "Fn::GetAtt": ["LedgerGroup", "GroupId"] },
        "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0",
    });
    told(Stack::Network, "LedgerBalancerToLedger8081In", "", open, "lets the internet in");
    let edge = json!({ "Fn::GetAtt": ["EdgeGroup", "GroupId"] });
    let rule = "LedgerToDatabase3306In";
    told(Stack::Network, rule, "/SourceSecurityGroupId", edge, "EdgeGroup reaches it");
    let public = json!({ "Ref": "PublicRoutes" });
    let place = "AppSubnetARoutes";
    told(Stack::Network, place, "/RouteTableId", public, "has a route from the internet");
    let private = json!({ "Ref": "PrivateRoutesA" });
    let place = "DataSubnetARoutes";
    told(Stack::Network, place, "/RouteTableId", private, "has a route to the internet");
    told(Stack::Data, "Database", "/PubliclyAccessible", json!(true), "has a public address");
    let app = json!([{ "Fn::ImportValue": "production-network-AppSubnetA" }]);
    told(Stack::Data, "DatabaseSubnets", "/SubnetIds", app, "is no subnet for data");
}

#[test]
fn roles_may_do_what_is_named_on_what_is_named() {
    let actions = "/Policies/0/PolicyDocument/Statement/0/Action";
    told(Stack::App, "LedgerRole", actions, json!(["logs:*"]), "name the actions");
    let resource = "/Policies/0/PolicyDocument/Statement/4/Resource";
    told(
        Stack::App,
        "LedgerRole",
        resource,
        json!("*"),
        "`secretsmanager:GetSecretValue` on everything",
    );
}

#[test]
fn the_loss_of_a_zone_is_survived() {
    told(Stack::Data, "Database", "/MultiAZ", json!(false), "has no standby");
    told(Stack::Data, "Cache", "/MultiAZEnabled", json!(false), "has no copy");
    told(Stack::App, "LedgerFleet", "/MinSize", json!("1"), "leave none");
    let nat = json!({ "Ref": "NatA" });
    told(Stack::Network, "PrivateRouteB", "/NatGatewayId", nat, "of another zone");
    let one = json!([{ "Fn::ImportValue": "production-network-PublicSubnetA" }]);
    told(Stack::Edge, "Balancer", "/Subnets", one, "stands in one zone");
}

#[test]
fn limits_are_kept() {
    let long = json!({ "Fn::Join": ["\n", ["x".repeat(17_000)]] });
    let path = "/LaunchTemplateData/UserData/Fn::Base64";
    told(Stack::Edge, "EdgeLaunchTemplate", path, long, "bytes of user data");
    let rules: Vec<Value> = (1..62)
        .map(|port| {
            json!({
                "IpProtocol": "tcp", "FromPort": port, "ToPort": port, "CidrIp": "10.0.0.0/8",
            })
        })
        .collect();
    let path = "/SecurityGroupIngress";
    told(Stack::Network, "BalancerGroup", path, json!(rules), "61 rules");
    told(
        Stack::Network,
        "Vpc",
        "/CidrBlock",
        json!("x".repeat(1_100_000)),
        "bytes, 1048576 at most",
    );
}

#[test]
fn create_only_properties_are_known() {
    assert!(check::properties::create_only("AWS::RDS::DBInstance").contains(&"MasterUsername"));
    assert!(check::properties::create_only("AWS::Nothing::AtAll").is_empty());
}

/// What stands before the edge, with what goes with it.
fn front(edge: &mut Edge, balancer: Balancer, waf: bool) {
    edge.balancer = balancer;
    edge.waf = waf && balancer == Application;
    let secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:live";
    edge.certificate = (balancer == Passthrough).then(|| secret.to_owned());
}

/// An environment of any size, valid by construction: production with everything that may differ
/// drawn at random.
fn any_estate() -> impl Strategy<Value = Environment> {
    let network = (0_u8..=255, 16_u32..=22, 2_u8..=3, 0_usize..3);
    let fleets = (1_u32..=20, 1_u32..=20, 1_u32..=3, any::<bool>());
    let data = (0_usize..3, 20_u64..16_384, any::<bool>(), 0_u32..=5, any::<bool>());
    let kinds = (
        proptest::sample::select(vec!["c7g.large", "m7i.xlarge", "t4g.small"]),
        "[a-z]{1,8}-[a-z0-9]{0,30}",
        0_usize..3,
    );
    let with = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (network, fleets, data, kinds, with).prop_map(|(network, fleets, data, kinds, with)| {
        let (kind, name, balancer) = kinds;
        let mut environment = environment("production");
        environment.name = name;
        let mut estate = environment.estate.take().unwrap();
        let (second, prefix, zones, nat) = network;
        estate.network.nat = [Nat::PerZone, Nat::One, Nat::None][nat];
        estate.network.cidr = format!("10.{second}.0.0/{prefix}");
        estate.network.zones = zones;
        let (min, more, count, waf) = fleets;
        estate.edge.instances.kind = kind.to_owned();
        (estate.edge.instances.min, estate.edge.instances.max) = (min, min + more);
        front(&mut estate.edge, [Application, Network, Passthrough][balancer], waf);
        let (engine, gib, multi_az, replicas, has_cache) = data;
        let (standby, database) = estate.ledger.as_mut().unwrap();
        standby.count = count;
        database.engine = [Engine::Mysql, Engine::Mariadb, Engine::Postgres][engine];
        database.storage = Some(proxy_config::units::ByteSize::bytes(gib << 30));
        database.multi_az = multi_az;
        estate.cache.as_mut().unwrap().replicas = replicas;
        if estate.network.nat == Nat::One || min < 2 || count < 2 || !multi_az || replicas == 0 {
            estate.aws.zone_loss = ZoneLoss::Accept;
        }
        if !has_cache {
            estate.cache = None;
            environment.proxy.rate_limits.clear();
            environment.proxy.routes.iter_mut().for_each(|route| route.rate_limits.clear());
        }
        let (no_ledger, no_mail, no_budget, no_origin) = with;
        if no_ledger {
            (estate.ledger, environment.ledger) = (None, None);
        }
        if no_mail {
            estate.alarms.email = None;
        }
        if no_budget {
            estate.budget = None;
        }
        if no_origin || estate.network.nat == Nat::None {
            estate.edge.origin = None;
        }
        environment.estate = Some(estate);
        environment
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_valid_environment_passes_every_offline_check(environment in any_estate()) {
        let plan = estate::resolve(&environment).unwrap().unwrap();
        let templates = template::build(&plan).unwrap();
        prop_assert_eq!(check::all(&plan, &templates), []);
    }
}

/// Any of the four systems of the shipped environments, whole.
fn shipped(name: &str) -> (EstatePlan, Vec<Template>) {
    let plan = estate::resolve(&environment(name)).unwrap().unwrap();
    let templates = template::build(&plan).unwrap();
    assert_eq!(check::all(&plan, &templates), [], "{name}");
    (plan, templates)
}

fn resource<'a>(templates: &'a [Template], id: &str) -> &'a Value {
    let found = templates.iter().find_map(|template| template.resources.get(id));
    &found.unwrap_or_else(|| panic!("there is no {id}")).properties
}

#[test]
fn the_four_systems_pass_every_offline_check() {
    for name in ["live-accounting", "media-platform", "stream-api", "video-encoding"] {
        let (plan, templates) = shipped(name);
        assert!(templates.iter().any(|template| template.stack == Stack::Media), "{name}");
        for template in &templates {
            let bytes = template.to_hand_over().len();
            assert!(bytes <= template::BYTES_MAX, "{}: {bytes}", template.name);
        }
        assert_eq!(plan.name, name);
    }
}

#[test]
fn encoders_are_scaled_by_what_waits_for_each_down_to_none() {
    let (_, templates) = shipped("video-encoding");
    let scale = resource(&templates, "EncodeScale");
    assert_eq!((&scale["MinCapacity"], &scale["MaxCapacity"]), (&json!(0), &json!(30)));
    let tracking =
        &resource(&templates, "EncodeByBacklog")["TargetTrackingScalingPolicyConfiguration"];
    assert_eq!(tracking["TargetValue"], json!(1));
    let metrics = tracking["CustomizedMetricSpecification"]["Metrics"].to_string();
    for part in ["ApproximateNumberOfMessagesVisible", "RunningTaskCount", "FILL(waiting, 0)"] {
        assert!(metrics.contains(part), "{part}: {metrics}");
    }
    let queue = resource(&templates, "EncodeQueue");
    assert_eq!(queue["RedrivePolicy"]["maxReceiveCount"], json!(3));
    assert!(templates.iter().any(|it| it.resources.contains_key("EncodeWake")));
}

#[test]
fn a_worker_may_do_what_it_names_and_nothing_else() {
    let (_, templates) = shipped("video-encoding");
    let actions = |id: &str| {
        let statements = &resource(&templates, id)["Policies"][0]["PolicyDocument"]["Statement"];
        let actions = statements.as_array().unwrap().iter();
        let actions = actions.flat_map(|it| it["Action"].as_array().unwrap());
        actions.map(|action| action.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let encode = actions("EncodeRole");
    for action in ["sqs:ReceiveMessage", "s3:GetObject", "s3:PutObject", "mediaconvert:CreateJob"] {
        assert!(encode.contains(&action.to_owned()), "{action}: {encode:?}");
    }
    for action in ["sqs:SendMessage", "secretsmanager:GetSecretValue", "s3:DeleteObject"] {
        assert!(!encode.contains(&action.to_owned()), "{action}: {encode:?}");
    }
    assert!(actions("PortalRole").contains(&"sqs:SendMessage".to_owned()));
    assert!(!actions("PortalRole").contains(&"sqs:ReceiveMessage".to_owned()));
}

#[test]
fn aurora_has_a_writer_readers_and_an_address_for_each() {
    let (mut plan, templates) = shipped("stream-api");
    for id in [
        "CatalogueDatabase",
        "CatalogueDatabaseWriter",
        "CatalogueDatabaseReader2",
        "CatalogueDatabaseProxy",
    ] {
        resource(&templates, id);
    }
    let task = resource(&templates, "OctaneTask").to_string();
    assert!(task.contains("DATABASE_CATALOGUE_READER_HOST"), "{task}");
    assert!(task.contains(":password::"), "the password is a secret: {task}");
    plan.estate.databases.get_mut("catalogue").unwrap().readers = 0;
    let findings = check::all(&plan, &template::build(&plan).unwrap());
    assert!(
        findings.iter().any(|it| it.message.contains("no reader to take over")),
        "{findings:?}"
    );
}

#[test]
fn only_the_cdn_reads_its_buckets_and_calls_its_functions() {
    let (_, templates) = shipped("stream-api");
    let policy = resource(&templates, "FilmsBucketPolicy").to_string();
    assert!(policy.contains("AWS:SourceArn") && policy.contains("distribution/${Cdn}"), "{policy}");
    assert_eq!(resource(&templates, "ArtworkUrl")["AuthType"], "AWS_IAM");
    assert_eq!(resource(&templates, "ArtworkCall")["Principal"], "cloudfront.amazonaws.com");
    let config = &resource(&templates, "Cdn")["DistributionConfig"];
    let behaviours = config["CacheBehaviors"].as_array().unwrap();
    let signed = |path: &str| {
        let found = behaviours.iter().find(|it| it["PathPattern"] == path).unwrap();
        !found["TrustedKeyGroups"].is_null()
    };
    assert!(signed("/films/*") && !signed("/artwork/*"));
}

#[test]
fn the_ledger_and_programs_share_no_proxy_before_a_database() {
    let mut environment = environment("media-platform");
    let estate = environment.estate.as_mut().unwrap();
    estate.ledger.as_mut().unwrap().1.proxy = true;
    estate.databases.get_mut("platform").unwrap().proxy = true;
    let plan = estate::resolve(&environment).unwrap().unwrap();
    let findings = check::all(&plan, &template::build(&plan).unwrap());
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(texts.iter().any(|text| text.contains("share it, and so its database")), "{texts:?}");
}

#[test]
fn the_edge_may_read_the_caches_password_where_it_counts_in_it() {
    let (_, templates) = production();
    let role = resource(&templates, "EdgeRole").to_string();
    assert!(role.contains("production-data-CacheSecret"), "{role}");
    let edge = templates.iter().find(|it| it.stack == Stack::Edge).unwrap();
    let files =
        edge.resources["EdgeLaunchTemplate"].metadata["AWS::CloudFormation::Init"].to_string();
    assert!(files.contains("/etc/forebay/cache.env") && files.contains("proxy-cache"), "{files}");
    let mut alone = environment("production");
    alone.proxy.rate_limits.clear();
    alone.estate.as_mut().unwrap().cache = None;
    let plan = estate::resolve(&alone).unwrap().unwrap();
    assert!(
        !json!(template::build(&plan).unwrap().iter().map(Template::to_value).collect::<Vec<_>>())
            .to_string()
            .contains("CacheSecret")
    );
}
