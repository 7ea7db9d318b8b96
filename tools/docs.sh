#!/bin/sh
# Writes the documents that are generated from code. tests/tidy.rs fails when they are out of date.
set -eu
bin=${1:?usage: tools/docs.sh FOLDER_WITH_BINARIES [FOLDER_TO_WRITE_TO]}
docs=${2:-$(cd "$(dirname "$0")/.." && pwd)/docs}
"$bin/forebay-proxy" docs config >"$docs/CONFIG.md"
# shellcheck disable=SC2016 # the backticks are Markdown
{
    printf '# Metrics\n\nThis page is generated from the metrics themselves: do not edit it.\n\n## forebay-proxy\n\n'
    printf 'Served on the admin listener at `/metrics`.\n\n'
    "$bin/forebay-proxy" docs metrics
    echo
    "$bin/forebay-ledger" docs metrics
} >"$docs/METRICS.md"
