#!/bin/sh
# Writes the documents that are generated from code. tests/tidy.rs fails when they are out of date.
set -eu
bin=${1:?usage: tools/docs.sh FOLDER_WITH_BINARIES}
here=$(cd "$(dirname "$0")/.." && pwd)
"$bin/forebay-proxy" docs config >"$here/docs/CONFIG.md"
{ "$bin/forebay-proxy" docs metrics; echo; "$bin/forebay-ledger" docs metrics; } >"$here/docs/METRICS.md"
