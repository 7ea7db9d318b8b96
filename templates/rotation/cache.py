"""Gives the cache another password, in the four steps of Secrets Manager.

The cache takes the password before as well, until the next time: whoever reads the secret once in a while
is never refused. https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
"""
import json
import os
import time

import boto3

GROUP = os.environ["GROUP"]
secrets = boto3.client("secretsmanager")
caches = boto3.client("elasticache")


def handler(event, context):
    secret, version, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    stages = secrets.describe_secret(SecretId=secret)["VersionIdsToStages"]
    if "AWSCURRENT" in stages.get(version, []):
        return
    if "AWSPENDING" not in stages.get(version, []) and step != "createSecret":
        raise ValueError(f"{version} is not what is being rotated to")
    STEPS[step](secret, version, context)


def create(secret, version, context):
    try:
        secrets.get_secret_value(SecretId=secret, VersionId=version, VersionStage="AWSPENDING")
    except secrets.exceptions.ResourceNotFoundException:
        password = secrets.get_random_password(PasswordLength=40, ExcludePunctuation=True)["RandomPassword"]
        text = json.dumps({"username": "default", "password": password})
        secrets.put_secret_value(
            SecretId=secret, ClientRequestToken=version, SecretString=text, VersionStages=["AWSPENDING"]
        )


def set_password(secret, version, context):
    if status() == "pending":
        # A try before this one has set it.
        return
    text = secrets.get_secret_value(SecretId=secret, VersionId=version, VersionStage="AWSPENDING")["SecretString"]
    caches.modify_replication_group(
        ReplicationGroupId=GROUP,
        AuthToken=json.loads(text)["password"],
        AuthTokenUpdateStrategy="ROTATE",
        ApplyImmediately=True,
    )


def wait(secret, version, context):
    while status() != "available":
        if context.get_remaining_time_in_millis() < 30_000:
            raise TimeoutError(f"{GROUP} does not take the new password yet")
        time.sleep(10)


def finish(secret, version, context):
    stages = secrets.describe_secret(SecretId=secret)["VersionIdsToStages"]
    before = next(it for it, names in stages.items() if "AWSCURRENT" in names)
    secrets.update_secret_version_stage(
        SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=version, RemoveFromVersionId=before
    )


def status():
    group = caches.describe_replication_groups(ReplicationGroupId=GROUP)["ReplicationGroups"][0]
    if group.get("PendingModifiedValues", {}).get("AuthTokenStatus"):
        return "pending"
    return group["Status"]


STEPS = {"createSecret": create, "setSecret": set_password, "testSecret": wait, "finishSecret": finish}
