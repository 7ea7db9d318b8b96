#!/bin/sh
# Installs what `make up` (argument: up), `make test` (test), `make bench` (bench) or `make migration` (migration) needs and
# this machine lacks.
# With apt, as root or through sudo; elsewhere it says exactly what to install. What Forebay can run
# without (ffmpeg, npm) is stated and passed over for `up`; `test` needs all of it.
set -eu

purpose=${1:?usage: tools/install.sh up|test|bench|migration}
here=$(cd "$(dirname "$0")/.." && pwd)

say() { printf 'install: %s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif has sudo; then sudo "$@"
    else return 1
    fi
}

# command:package pairs; the package is what Debian and its derivatives call it.
wanted="cmake:cmake ffmpeg:ffmpeg npm:npm node:nodejs setpriv:util-linux"
[ "$purpose" = test ] && wanted="$wanted chromium:chromium curl:curl redis-server:redis-server script:bsdutils mariadbd:mariadb-server openssl:openssl python3:python3 systemd-analyze:systemd valgrind:valgrind h2load:nghttp2-client slowhttptest:slowhttptest certbot:certbot pebble:pebble start-stop-daemon:dpkg"
[ "$purpose" = migration ] && wanted="cmake:cmake curl:curl openssl:openssl python3:python3 systemd-nspawn:systemd-container certbot:certbot pebble:pebble start-stop-daemon:dpkg"
[ "$purpose" = bench ] && wanted="cmake:cmake haproxy:haproxy varnishd:varnish traffic_server:trafficserver caddy:caddy slowhttptest:slowhttptest"

missing=""
for pair in $wanted; do
    has "${pair%%:*}" || missing="$missing ${pair#*:}"
done
# The clock in the test picture is drawn with a font.
[ -e /usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf ] || missing="$missing fonts-dejavu-core"
# PostgreSQL's programs are not on the PATH.
has_postgres() { ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }
[ "$purpose" = test ] && ! has_postgres && missing="$missing postgresql"
# nginx's program is on an administrator's PATH only.
has_nginx() { has nginx || [ -x /usr/sbin/nginx ]; }
[ "$purpose" != up ] && ! has_nginx && missing="$missing nginx-light"
# certbot's plugin for nginx is a package of Debian's Python, which need not be the first on PATH.
has_plugin() { [ -d /usr/lib/python3/dist-packages/certbot_nginx ]; }
{ [ "$purpose" = test ] || [ "$purpose" = migration ]; } && ! has_plugin && missing="$missing python3-certbot-nginx"
# php-fpm's program has the version of PHP in its name.
has_php() { ls /usr/sbin/php-fpm* >/dev/null 2>&1; }
[ "$purpose" = test ] && ! has_php && missing="$missing php-fpm"
# Debian's python3 makes environments of its own only with this package.
has_venv() { ! has python3 || python3 -c 'import ensurepip, venv' 2>/dev/null; }
[ "$purpose" = test ] && { has python3 && has_venv || missing="$missing python3-venv"; }

apt_install() {
    # Servers are wanted as programs; RUNLEVEL keeps Debian from starting them.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$@" >&2
}

if [ -n "$missing" ]; then
    say "missing:$missing"
    failed=$missing
    if has apt-get && as_root true; then
        # Old lists are better than none: one source that is down must not keep the rest away.
        as_root apt-get update -qq >&2 || say "the package lists could not be brought up to date; trying with those that are here."
        # shellcheck disable=SC2086 # a list of package names
        if apt_install $missing; then
            failed=""
        else
            failed=""
            for package in $missing; do apt_install "$package" || failed="$failed $package"; done
        fi
    fi
    if [ -n "$failed" ]; then
        say "could not install them all here. Please run, as an administrator:"
        say "    apt-get install$failed"
        say "or install the same programs with this system's own package manager."
    fi
fi

fatal=""
for program in cargo cc cmake; do has "$program" || fatal="$fatal $program"; done
if [ "$purpose" = test ]; then
    for program in ffmpeg npm node chromium curl setpriv mariadbd redis-server valgrind h2load nghttp slowhttptest certbot pebble; do has "$program" || fatal="$fatal $program"; done
    has_postgres || fatal="$fatal postgresql"
    has_nginx || fatal="$fatal nginx"
    has_php || fatal="$fatal php-fpm"
    has python3 || fatal="$fatal python3"
elif [ "$purpose" = up ]; then
    has ffmpeg || say "going on without ffmpeg: there will be no live stream."
    has npm || say "going on without npm: hls.js is not built in, and the stream page plays only where the browser itself plays HLS."
fi
if [ -n "$fatal" ]; then
    say "cannot go on without:$fatal"
    exit 69
fi

# hls.js for the stream page (embedded at build time), playwright-core for the browser test, the public
# suite for the test of the cache.
node_packages() {
    folder=$1
    [ -e "$folder/package-lock.json" ] || return 0
    stamp="$folder/node_modules/.installed"
    if [ ! -e "$stamp" ] || [ "$folder/package-lock.json" -nt "$stamp" ]; then
        (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error >&2) && touch "$stamp"
    fi
}
if has npm && { [ "$purpose" = up ] || [ "$purpose" = test ]; }; then
    node_packages "$here/stack/page" || say "npm could not fetch hls.js; the stream page falls back to the browser's own player."
fi

if [ "$purpose" = test ]; then
    for folder in tests/browser tests/cache-tests proxy/tests/chat; do
        node_packages "$here/$folder" || say "npm could not fetch what $folder needs; its test will fail until it can."
    done
    has cargo-nextest || { say "building cargo-nextest (once)"; cargo install cargo-nextest --locked --quiet --no-default-features --features default-no-update --profile dev; }
    has cargo-deny || { say "building cargo-deny (once)"; cargo install cargo-deny --locked --quiet --no-default-features --profile dev; }
    # Every platform's crates: the dependency rules are judged offline, and not for this machine alone.
    (cd "$here" && cargo fetch --locked --quiet)
    rustup component list --installed 2>/dev/null | grep -q clippy || rustup component add clippy rustfmt || true
    # Judges of CloudFormation templates, in environments of their own beside what cargo builds: checkov
    # wants other versions of what they share.
    python_packages() {
        folder="${CARGO_TARGET_DIR:-$here/target}/$1"
        shift
        [ "$(cat "$folder/.installed" 2>/dev/null)" = "$*" ] && return 0
        say "installing $* into $folder (once)"
        python3 -m venv "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" >&2 &&
            echo "$*" >"$folder/.installed"
    }
    # and AWS as others have built it, to deploy to.
    python_packages judges cfn-lint==1.58.0 cloudformation-validate==1.14.0 "moto[server]==5.2.5" ministack==1.5.33
    python_packages checkov checkov==3.3.30
    # Every answer of the ledger against its OpenAPI document.
    python_packages schemathesis schemathesis==4.32.5
fi
