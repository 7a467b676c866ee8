"""Compares the two runs of run.sh: compare.py FOLDER EXPECTED [--write]."""

import json
import pathlib
import sys


def results(folder, name):
    index = json.loads((folder / name / "index.json").read_text())["echo"]
    fields = ("behavior", "behaviorClose", "remoteCloseCode")
    return {case: tuple(str(result.get(field)) for field in fields) for case, result in index.items()}


def order(case):
    return [int(part) for part in case.split(".")]


def main():
    folder, expected = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    direct, relais = (results(folder, name) for name in ("direct", "relais"))
    if "--write" in sys.argv:
        lines = ("\t".join((case, *relais[case])) for case in sorted(relais, key=order))
        expected.write_text("".join(line + "\n" for line in lines))
    wanted = dict((line.split("\t")[0], tuple(line.split("\t")[1:])) for line in expected.read_text().splitlines())
    failed = False
    for case in sorted(direct, key=order):
        if direct[case] != relais.get(case):
            print(f"{case}: {direct[case]} directly, {relais.get(case)} through relais")
            failed = True
        if wanted.get(case) != relais.get(case):
            print(f"{case}: {wanted.get(case)} expected, {relais.get(case)} found")
            failed = True
    print(f"{len(direct)} cases")
    sys.exit(failed)


main()
