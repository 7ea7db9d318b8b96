#!/bin/sh
# Before every start and every hour: the certificate and its key, as they are now, into files only the proxy reads.
set -eu
umask 077
secret=$(aws secretsmanager get-secret-value --region {{ region }} --secret-id {{ certificate_secret }} --query SecretString --output text)
certificate={{ certificate_file }}
key={{ certificate_key_file }}
SECRET_STRING=$secret python3 - "$certificate.new" "$key.new" <<'PY'
import json, os, sys
secret = json.loads(os.environ["SECRET_STRING"])
for path, name in zip(sys.argv[1:], ("certificate", "key")):
    with open(path, "w") as file:
        file.write(secret[name].rstrip() + "\n")
PY
chown forebay:forebay "$certificate.new" "$key.new"
mv "$key.new" "$key"
mv "$certificate.new" "$certificate"
