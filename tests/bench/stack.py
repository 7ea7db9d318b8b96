#!/usr/bin/env python3
"""What it costs to make production's templates: Forebay beside the CDK, for the same architecture.

Usage: stack.py FOREBAY   (the binary; `make bench-stack` builds it, and fetches the CDK)

Processor seconds and peak memory are those of the process alone, as the kernel tells them when it ends; the least
of five runs counts. The CDK runs as plain JavaScript: neither its command nor a TypeScript compiler is counted.
"""
import json
import os
import pathlib
import sys
import tempfile

RUNS = 5
HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent


def cost(command, environment):
    """Processor seconds and peak MiB of one run, the least of several."""
    seconds, memory = [], []
    for _ in range(RUNS):
        process = os.fork()
        if process == 0:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.execvpe(command[0], command, {**os.environ, **environment})
        _, status, usage = os.wait4(process, 0)
        if status:
            sys.exit(f"{' '.join(map(str, command))} failed")
        seconds.append(usage.ru_utime + usage.ru_stime)
        memory.append(usage.ru_maxrss / 1024)
    return min(seconds), min(memory)


def lines(path, comment):
    """Lines that say something."""
    written = [line.strip() for line in path.read_text().splitlines()]
    return sum(1 for line in written if line and not line.startswith(comment))


def templates(folder, ending):
    """Resources, bytes of all templates, bytes of the largest."""
    found = [path for path in sorted(folder.glob("*" + ending)) if path.name != "stacks.json"]
    sizes = [path.stat().st_size for path in found]
    resources = sum(len(json.loads(path.read_text())["Resources"]) for path in found)
    return resources, sum(sizes), max(sizes)


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    environments = ROOT / "environments"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder)
        ours, theirs = out / "ours", out / "theirs"
        command = [binary, "synth", environments / "production.yaml", "-o", ours]
        written = lines(environments / "production.yaml", "#") + lines(environments / "base.yaml", "#")
        rows.append(("Forebay", written, cost(command, {}), templates(ours, ".json")))
        if (HERE / "cdk/node_modules").exists():
            command = ["node", HERE / "cdk/app.js"]
            figures = cost(command, {"CDK_OUTDIR": str(theirs)})
            rows.append(("CDK, JavaScript", lines(HERE / "cdk/app.js", "//"), figures, templates(theirs, ".template.json")))
        else:
            print("the CDK is not here: npm could not fetch it", file=sys.stderr)
    print("| | input lines | processor s | peak MiB | resources | bytes | largest template |")
    print("|---|---|---|---|---|---|---|")
    for name, written, (seconds, memory), (resources, size, largest) in rows:
        print(f"| {name} | {written} | {seconds:.3f} | {memory:.0f} | {resources} | {size:,} | {largest:,} |")


main()
