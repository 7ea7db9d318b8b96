//! The function that gives the cache another password, as Lambda would run it: its own text, in the four
//! steps of Secrets Manager, before a secret and a cache that are played here.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a failed test")]

use std::path::Path;
use std::process::Command;

/// `boto3` for the function: a secret, and a cache that takes its time. What is called is printed.
const BOTO3: &str = r#"
class Secrets:
    class exceptions:
        class ResourceNotFoundException(Exception):
            pass
    stages = {"old": ["AWSCURRENT"]}
    texts = {"old": '{"username": "default", "password": "before"}'}
    def describe_secret(self, SecretId):
        return {"VersionIdsToStages": self.stages}
    def get_secret_value(self, SecretId, VersionId, VersionStage):
        if VersionStage not in self.stages.get(VersionId, []) or VersionId not in self.texts:
            raise self.exceptions.ResourceNotFoundException()
        return {"SecretString": self.texts[VersionId]}
    def get_random_password(self, PasswordLength, ExcludePunctuation):
        assert (PasswordLength, ExcludePunctuation) == (40, True)
        return {"RandomPassword": "after"}
    def put_secret_value(self, SecretId, ClientRequestToken, SecretString, VersionStages):
        print("put", ClientRequestToken, VersionStages)
        self.texts[ClientRequestToken] = SecretString
        self.stages[ClientRequestToken] = VersionStages
    def update_secret_version_stage(self, SecretId, VersionStage, MoveToVersionId, RemoveFromVersionId):
        print("current", MoveToVersionId, "instead of", RemoveFromVersionId)
        self.stages = {RemoveFromVersionId: ["AWSPREVIOUS"], MoveToVersionId: ["AWSCURRENT"]}
class Caches:
    looks = 0
    def modify_replication_group(self, ReplicationGroupId, AuthToken, AuthTokenUpdateStrategy, ApplyImmediately):
        print("modify", ReplicationGroupId, AuthToken, AuthTokenUpdateStrategy)
        Caches.looks = 2
    def describe_replication_groups(self, ReplicationGroupId):
        pending = {}
        if Caches.looks > 0:
            Caches.looks -= 1
            pending = {"AuthTokenStatus": "ROTATING"}
        return {"ReplicationGroups": [{"Status": "available", "PendingModifiedValues": pending}]}
def client(name):
    return {"secretsmanager": Secrets, "elasticache": Caches}[name]()
"#;

/// Calls the function step by step; what it calls in its turn.
fn told(steps: &[(&str, &str)], patience_ms: u32) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("boto3.py"), BOTO3).unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates/rotation/cache.py");
    std::fs::copy(own, folder.path().join("index.py")).unwrap();
    let mut script = format!(
        "import time\ntime.sleep = lambda seconds: print('wait', seconds)\nimport index\n\
         class Context:\n    def get_remaining_time_in_millis(self):\n        return {patience_ms}\n"
    );
    for (step, version) in steps {
        script.push_str(&format!(
            "index.handler({{'SecretId': 'arn', 'ClientRequestToken': '{version}', 'Step': '{step}'}}, Context())\n"
        ));
    }
    let output = Command::new("python3")
        .args(["-c", &script])
        .env("GROUP", "cache")
        .current_dir(folder.path())
        .output()
        .unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

const STEPS: [(&str, &str); 4] =
    [("createSecret", "new"), ("setSecret", "new"), ("testSecret", "new"), ("finishSecret", "new")];

#[test]
fn the_cache_takes_both_passwords_before_the_new_one_counts() {
    let (said, failed) = told(&STEPS, 600_000);
    assert_eq!(failed, "");
    let expected = "put new ['AWSPENDING']\nmodify cache after ROTATE\nwait 10\nwait 10\n\
        current new instead of old\n";
    assert_eq!(said, expected);
}

#[test]
fn a_step_that_is_tried_again_does_nothing_twice() {
    let twice: Vec<(&str, &str)> = STEPS.iter().flat_map(|step| [*step, *step]).collect();
    let (said, failed) = told(&twice, 600_000);
    assert_eq!(failed, "");
    for once in ["put new", "modify cache", "current new"] {
        assert_eq!(said.matches(once).count(), 1, "{once}: {said}");
    }
}

#[test]
fn what_is_not_being_rotated_to_and_a_cache_that_never_takes_it_are_errors() {
    let (said, failed) = told(&[("setSecret", "other")], 600_000);
    assert!(failed.contains("other is not what is being rotated to"), "{failed}");
    assert_eq!(said, "");
    let (said, failed) = told(&STEPS, 20_000);
    assert!(failed.contains("cache does not take the new password yet"), "{failed}");
    assert!(!said.contains("current"), "{said}");
}
