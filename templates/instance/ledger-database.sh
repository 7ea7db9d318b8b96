#!/bin/sh
# Before every start: the password as it is now (it rotates), into a file only this service reads.
set -eu
umask 077
. /etc/forebay/database.env
authorities=/etc/forebay/rds-authorities.pem
[ -s "$authorities" ] || curl -fsS -o "$authorities" https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
chmod 0644 "$authorities"
secret=$(aws secretsmanager get-secret-value --region {{ region }} --secret-id "$SECRET" --query SecretString --output text)
SECRET_STRING=$secret HOST=$HOST SCHEME={{ scheme }} TLS={{ tls }} AUTHORITIES=$authorities python3 - >/run/forebay-ledger/database.env <<'PY'
import json, os, urllib.parse
secret = json.loads(os.environ["SECRET_STRING"])
user, password = (urllib.parse.quote(secret[key], safe="") for key in ("username", "password"))
address = "{SCHEME}://{user}:{password}@{HOST}/ledger?{TLS}={AUTHORITIES}".format(user=user, password=password, **os.environ)
print('FOREBAY_LEDGER_DATABASE="' + address + '"')
PY
chown forebay:forebay /run/forebay-ledger/database.env
