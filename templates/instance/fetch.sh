#!/bin/sh
# Fetches the release and starts nothing unless it is, byte for byte, what the stack asks for.
set -eu
. /etc/forebay/release.env
fetch() {
    aws s3 cp --quiet --region {{ region }} "s3://"{{ releases }}"/forebay/$VERSION/$1" "/tmp/$1"
    echo "$2  /tmp/$1" | sha256sum --check --quiet
    install -m "$4" "/tmp/$1" "$3/$1"
    rm -f "/tmp/$1"
}
fetch {{ binary }} "$SHA256" /usr/local/bin 0755
{% if authorities -%}
fetch rds-authorities.pem "$AUTHORITIES_SHA256" /etc/forebay 0644
{% endif -%}
