#!/bin/sh
# What the proxy read at its start may be another by now: a password that was rotated, a certificate that was renewed.
# It goes on with what is new, and no request notices.
set -eu
sums() {
    sha256sum /run/forebay-proxy/* 2>/dev/null || true
}
before=$(sums)
{% if cache -%}
/usr/local/sbin/proxy-cache
{% endif -%}
{% if certificate -%}
/usr/local/sbin/proxy-certificate
{% endif -%}
[ "$before" = "$(sums)" ] || systemctl reload forebay-proxy.service
