"""Compares the runs of one direction of run.sh, of which later rounds have the last word:
compare.py FOLDER DIRECTION ROUND EXPECTED [--write]. What differs is left in DIRECTION-again, to be asked again."""

import json
import pathlib
import sys


def results(folder):
    """The outcome of each case, of the one agent that was tested."""
    (index,) = json.loads((folder / "index.json").read_text()).values()
    fields = ("behavior", "behaviorClose", "remoteCloseCode")
    return {case: tuple(str(result.get(field)) for field in fields) for case, result in index.items()}


def order(case):
    return [int(part) for part in case.split(".")]


def same(case, direct, relais):
    """Whether two outcomes are equal. In cases 3 and 4 the failing side drops the connection right behind an answer, and
    whether the kernel's reset overtakes that answer is a race with relais and without; the suite accepts both."""
    if direct and relais and case.split(".")[0] in ("3", "4"):
        direct, relais = (("OK" if outcome[0] == "NON-STRICT" else outcome[0], *outcome[1:]) for outcome in (direct, relais))
    return direct == relais


def main():
    folder, direction, rounds, expected = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), pathlib.Path(sys.argv[4])
    direct, relais = {}, {}
    for name, found in (("direct", direct), ("relais", relais)):
        for number in range(1, rounds + 1):
            found.update(results(folder / f"{direction}-{name}-{number}"))
    if "--write" in sys.argv:
        lines = ("\t".join((case, *relais[case])) for case in sorted(relais, key=order))
        expected.write_text("".join(line + "\n" for line in lines))
    rows = (line.split("\t") for line in expected.read_text().splitlines())
    wanted = {case: tuple(outcome) for case, *outcome in rows}
    again = []
    for case in sorted(set(direct) | set(relais) | set(wanted), key=order):
        outcomes = [source.get(case) for source in (direct, relais, wanted)]
        if not (same(case, outcomes[0], outcomes[1]) and same(case, outcomes[1], outcomes[2])):
            print(f"{direction} {case}: {outcomes[0]} directly, {outcomes[1]} through relais, {outcomes[2]} expected")
            again.append(case)
    print(f"{direction}: {len(direct)} cases, {len(direct) - len(again)} as without relais and as expected")
    (folder / f"{direction}-again").write_text(", ".join(f'"{case}"' for case in again))
    sys.exit(bool(again))


main()
