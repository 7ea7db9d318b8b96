#!/bin/sh
# Makes the README's picture: runs the local environment, lets a browser watch it and post transfers for a
# few seconds, and keeps what the browser shows.
set -eu
forebay=${1:?usage: tools/picture.sh FOREBAY_BINARY PNG}
png=${2:?usage: tools/picture.sh FOREBAY_BINARY PNG}
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
environment="$here/environments/local.yaml"

cleanup() {
    "$forebay" down "$environment" --state-dir "$work/state" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

"$forebay" up "$environment" --state-dir "$work/state" >"$work/up.log" 2>&1 &
tries=0
until "$forebay" status "$environment" --state-dir "$work/state" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { cat "$work/up.log" >&2; exit 1; }
    sleep 0.1
done
page=$("$forebay" status "$environment" --state-dir "$work/state" -o json | node -e '
    let text = ""; process.stdin.on("data", (part) => (text += part));
    process.stdin.on("end", () => console.log(JSON.parse(text).urls.page));')
mkdir -p "$(dirname "$png")"
node "$here/tests/browser/play.mjs" "$page" --seconds 8 --width 1280 --screenshot "$png"
