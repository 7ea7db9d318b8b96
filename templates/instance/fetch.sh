#!/bin/sh
# Fetches the release and starts nothing unless it is, byte for byte, what the stack asks for.
set -eu
. /etc/forebay/release.env
binary={{ binary }}
aws s3 cp --quiet --region {{ region }} "s3://"{{ releases }}"/forebay/$VERSION/$binary" "/tmp/$binary"
echo "$SHA256  /tmp/$binary" | sha256sum --check --quiet
install -m 0755 "/tmp/$binary" "/usr/local/bin/$binary"
rm -f "/tmp/$binary"
