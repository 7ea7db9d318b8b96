#!/bin/sh
# Before every start and every hour: the cache's address and its password, as they are now, into a document only the proxy reads.
set -eu
umask 077
. /etc/forebay/cache.env
secret=$(aws secretsmanager get-secret-value --region {{ region }} --secret-id "$SECRET" --query SecretString --output text)
SECRET_STRING=$secret HOST=$HOST NAME={{ cache_url }} python3 - /etc/forebay/proxy.yaml >/run/forebay-proxy/proxy.yaml.new <<'PY'
import json, os, sys, urllib.parse
password = urllib.parse.quote(json.loads(os.environ["SECRET_STRING"])["password"], safe="")
address = "rediss://:{}@{}:6379".format(password, os.environ["HOST"])
print(open(sys.argv[1]).read().replace(os.environ["NAME"], address), end="")
PY
chown forebay:forebay /run/forebay-proxy/proxy.yaml.new
mv /run/forebay-proxy/proxy.yaml.new /run/forebay-proxy/proxy.yaml
