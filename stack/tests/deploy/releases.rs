//! Releases in their bucket, templates too large to be handed over, what the doctor asks, and changes by hand
//! in a plan.

use std::fs;

use crate::cases::Stage;
use crate::fake::Script;

const RELEASE: [&str; 4] = ["--release", "1.0.0", "--binaries", "."];

#[test]
fn a_release_is_put_into_its_bucket_once_and_stays_as_it_is() {
    let stage = Stage::deployed(Script::default());
    let put = stage.fake.calls("PutObject");
    let bucket = "/acme-forebay-releases/forebay/1.0.0";
    let expected = [format!("{bucket}/forebay-proxy"), format!("{bucket}/forebay-ledger")];
    assert_eq!(put, expected);
    let objects = stage.fake.state.lock().unwrap().objects.clone();
    assert_eq!(objects[&expected[0]].0, b"forebay-proxy");
    assert_eq!(objects[&expected[0]].1.len(), 44, "SHA-256 in base64");
    let (told, code) = stage.deploy(&RELEASE);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("forebay/1.0.0/forebay-proxy was there (SHA-256 "), "{told}");
    fs::write(stage.folder.path().join("forebay-proxy"), "another").unwrap();
    let (told, code) = stage.deploy(&RELEASE);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("a release never changes: give this one a version of its own"), "{told}");
    assert_eq!(stage.fake.calls("PutObject").len(), 2, "nothing is written over");
}

#[test]
fn a_release_that_no_instance_could_run_is_refused() {
    let stage = Stage::of(Script::default());
    let mut elf = b"\x7fELF\x02\x01".to_vec();
    elf.resize(64, 0);
    elf[18] = 0x3e;
    fs::write(stage.folder.path().join("forebay-proxy"), elf).unwrap();
    let (told, code) = stage.deploy(&RELEASE);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("is a program for x86_64, and the instances of `edge` are arm64"),
        "{told}"
    );
    let (told, _) = stage.deploy(&["--release", "../1", "--binaries", "."]);
    assert!(told.contains("`../1` is not the version of a release"), "{told}");
    assert!(stage.fake.calls("CreateChangeSet").is_empty());
}

#[test]
fn a_network_without_a_way_out_brings_the_authorities_of_its_database() {
    let stage = Stage::of(Script::default());
    let isolated = "network: { nat: none }\nedge: { proxy: { routes: [ { name: ledger, match: { paths: \
        [ { prefix: / } ] }, upstream: ledger, lane: transactions, rate_limits: [ clients ] } ] } }";
    stage.write(isolated);
    let (told, code) = stage.deploy(&RELEASE);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("rds-authorities.pem cannot be read") && told.contains("truststore"),
        "{told}"
    );
    fs::write(stage.folder.path().join("rds-authorities.pem"), "authorities").unwrap();
    let (told, code) = stage.deploy(&RELEASE);
    assert_eq!(code, Some(0), "{told}");
    let app = stage.fake.stack("production-app");
    assert_eq!(app.parameters["AuthoritiesSha256"].len(), 64);
    assert!(app.template.contains("AUTHORITIES_SHA256=${AuthoritiesSha256}"));
    assert_eq!(stage.fake.calls("PutObject").len(), 3);
}

#[test]
fn a_template_too_large_to_be_handed_over_goes_through_the_bucket() {
    let stage = Stage::of(Script::default());
    let topics: Vec<String> = (0..400)
        .map(|number| format!("    Topic{number}: {{ Type: \"AWS::SNS::Topic\", Properties: {{ KmsMasterKeyId: \"alias/aws/sns\", TopicName: topic-of-many-{number} }} }}"))
        .collect();
    stage.write(&format!("resources:\n  network:\n{}", topics.join("\n")));
    let (told, code) = stage.run(&["synth", "forebay.yaml"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("network.json is above 51200 bytes, which CloudFormation takes from a bucket only; `forebay deploy` hands it over through s3://acme-forebay-releases"), "{told}");
    let (told, code) = stage.deploy(&RELEASE);
    assert_eq!(code, Some(0), "{told}");
    let put = stage.fake.calls("PutObject");
    let large = "/acme-forebay-releases/forebay-templates/production-network/";
    assert_eq!(put.iter().filter(|path| path.starts_with(large)).count(), 1, "{put:?}");
    assert!(stage.fake.stack("production-network").template.contains("Topic399"));
    let (told, code) = stage.run(&["doctor", "forebay.yaml"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(stage.fake.calls("PutObject").len(), put.len(), "it is there already");
}

#[test]
fn archives_of_functions_are_looked_for_before_anything_begins() {
    let stage = Stage::of(Script::default());
    stage.write("functions: { artwork: { code: functions/a.zip, handler: index.handler, runtime: nodejs22.x } }");
    let missing = "functions.artwork.code: s3://acme-forebay-releases/functions/a.zip is not there";
    let (told, code) = stage.deploy(&RELEASE);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(missing), "{told}");
    assert!(stage.fake.calls("CreateChangeSet").is_empty());
    let (told, code) = stage.run(&["doctor", "forebay.yaml"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(&format!("FAIL  {missing}")), "{told}");
    let path = "/acme-forebay-releases/functions/a.zip".to_owned();
    stage.fake.state.lock().unwrap().objects.insert(path, (b"zip".to_vec(), String::new()));
    let (told, code) = stage.deploy(&RELEASE);
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn the_doctor_holds_quotas_and_images_against_what_the_file_needs() {
    let stage = Stage::of(Script { quota: Some(5), no_images: true, ..Script::default() });
    let (told, code) = stage.run(&["doctor", "forebay.yaml"]);
    assert_eq!(code, Some(1), "{told}");
    for part in [
        "ok    3 public addresses at the most, of 5 the account may have in all",
        "FAIL  54 processors of instances at the most, and the account may have 5",
        "--service-code ec2 --quota-code L-1216C47A --desired-value 54",
        "FAIL  eu-central-1 has no image /aws/service/ami-amazon-linux-latest/",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    stage.script(|script| (script.quota, script.no_images) = (None, false));
    let (told, code) = stage.run(&["doctor", "forebay.yaml"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("eu-central-1 has the image ami-0123456789abcdef0"), "{told}");
}

#[test]
fn a_plan_tells_what_was_changed_by_hand_and_what_becomes_of_it() {
    let stage = Stage::deployed(Script::default());
    let plan = |further: &[&str]| stage.run(&[&["plan", "forebay.yaml"], further].concat());
    let (told, code) = plan(&["--drift", "--look", "10ms"]);
    assert_eq!(
        (told.as_str(), code),
        ("nothing to change\nnothing was changed by hand\n", Some(0))
    );
    stage.script(|script| script.drifted = Some("BalancerGroup".to_owned()));
    let (told, code) = plan(&["--drift", "--look", "10ms"]);
    assert_eq!(code, Some(0), "{told}");
    let hand = "CidrIp: 10.0.0.0/8 → 0.0.0.0/0  (stays: its template does not change)";
    assert!(told.contains(hand), "{told}");
    let patch = "patches: { network: { BalancerGroup: [ { op: replace, path: /Properties/GroupDescription, value: another } ] } }";
    stage.write(patch);
    let (told, code) = plan(&["--drift", "--look", "10ms"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("0.0.0.0/0  (goes with its resource)"), "{told}");
    let (told, _) = plan(&["--drift", "--look", "10ms", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["drift"][0]["fate"], "lost");
    let (told, _) = plan(&["-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(told["drift"].is_null(), "it was not asked for");
}
