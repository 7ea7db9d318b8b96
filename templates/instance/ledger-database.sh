#!/bin/sh
# Before every start: the password as it is now (it rotates), and the first administrator's key, into files only
# this service reads.
set -eu
umask 077
. /etc/forebay/database.env
authorities=/etc/forebay/rds-authorities.pem
[ -s "$authorities" ] || curl -fsS -o "$authorities" https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
chmod 0644 "$authorities"
read_secret() {
    aws secretsmanager get-secret-value --region {{ region }} --secret-id "$1" --query SecretString --output text
}
secret=$(read_secret "$SECRET")
key=$(read_secret "$ADMIN_KEY")
SECRET_STRING=$key python3 -c 'import json, os; print("fbl_" + json.loads(os.environ["SECRET_STRING"])["key"])' >/run/forebay-ledger/admin-key
SECRET_STRING=$secret HOST=$HOST SCHEME={{ scheme }} TLS={{ tls }} AUTHORITIES=$authorities python3 - >/run/forebay-ledger/database.env <<'PY'
import json, os, urllib.parse
secret = json.loads(os.environ["SECRET_STRING"])
user, password = (urllib.parse.quote(secret[key], safe="") for key in ("username", "password"))
address = "{SCHEME}://{user}:{password}@{HOST}/ledger?{TLS}={AUTHORITIES}".format(user=user, password=password, **os.environ)
print('FOREBAY_LEDGER_DATABASE="' + address + '"')
PY
chown forebay:forebay /run/forebay-ledger/database.env /run/forebay-ledger/admin-key
