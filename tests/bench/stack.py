#!/usr/bin/env python3
"""What it costs to make production's templates: Forebay beside the CDK, for the same architecture.

Usage: stack.py FOREBAY   (the binary; `make bench-stack` builds it, and fetches the CDK)

Processor seconds and peak memory are those of the process alone, as the kernel tells them when it ends; the least
of five runs counts. The CDK runs as plain JavaScript: neither its command nor a TypeScript compiler is counted.
Writes docs/BENCHMARKS-STACK.md.
"""
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

RUNS = 5
HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent


def cost(command, environment):
    """Processor seconds, seconds and peak MiB of one run, the least of several."""
    seconds, whole, memory = [], [], []
    for _ in range(RUNS):
        begun = time.monotonic()
        process = os.fork()
        if process == 0:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.execvpe(command[0], command, {**os.environ, **environment})
        _, status, usage = os.wait4(process, 0)
        if status:
            sys.exit(f"{' '.join(map(str, command))} failed")
        whole.append(time.monotonic() - begun)
        seconds.append(usage.ru_utime + usage.ru_stime)
        memory.append(usage.ru_maxrss / 1024)
    return min(seconds), min(whole), min(memory)


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
        own, shared = (lines(environments / f"{name}.yaml", "#") for name in ("production", "base"))
        rows.append(("Forebay", f"{own} + {shared} shared", cost(command, {}), templates(ours, ".json")))
        if (HERE / "cdk/node_modules").exists():
            command = ["node", HERE / "cdk/app.js"]
            figures = cost(command, {"CDK_OUTDIR": str(theirs)})
            rows.append(("CDK, JavaScript", lines(HERE / "cdk/app.js", "//"), figures, templates(theirs, ".template.json")))
        else:
            print("the CDK is not here: npm could not fetch it", file=sys.stderr)
    print(table := "\n".join(told(rows)))
    checks = [told_check(binary, path) for path in sorted(environments.glob("*.yaml")) if "\naws:" in path.read_text()]
    print(checks := "\n".join(checks))
    (ROOT / "docs/BENCHMARKS-STACK.md").write_text(PAGE.format(
        date=datetime.date.today(), machine=machine(), runs=RUNS, load=f"{os.getloadavg()[0]:.1f}", table=table, checks=checks
    ))


PAGE = """# What templates cost

Written by `make bench-stack` on {date}: do not edit it. {machine}; the least of {runs} runs, {load} processes ready in the minute
before the end. Seconds and memory are of the one process. The CDK makes the same architecture (`tests/bench/cdk/app.js`) as plain JavaScript:
neither its command nor a TypeScript compiler is counted. Input lines are those that are neither empty nor comments only: of production's
own file, and of `base.yaml`, which all environments of the estate share; of `app.js` for the CDK, whose file has no part that others share.

`forebay synth environments/production.yaml`, with every offline check; asked for are 0.1 processor seconds and 50 MiB at most.

{table}

`forebay check`, every offline check of an environment; asked for is less than a second.

| environment | lines | resources | processor s | s | peak MiB |
|---|---|---|---|---|---|
{checks}
"""


def told(rows):
    yield "| | input lines | processor s | s | peak MiB | resources | bytes | largest template |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, written, (seconds, whole, memory), (resources, size, largest) in rows:
        yield f"| {name} | {written} | {seconds:.3f} | {whole:.3f} | {memory:.0f} | {resources} | {size:,} | {largest:,} |"


def told_check(binary, path):
    seconds, whole, memory = cost([binary, "check", path], {})
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([binary, "synth", path, "-o", folder], check=True, stdout=subprocess.DEVNULL)
        resources, _, _ = templates(pathlib.Path(folder), ".json")
    return f"| {path.stem} | {lines(path, '#')} | {resources} | {seconds:.3f} | {whole:.3f} | {memory:.0f} |"


def machine():
    names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return f"{len(names)} × {names[0] if names else platform.machine()}, Linux {platform.release()}"


main()
