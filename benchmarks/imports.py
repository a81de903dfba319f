"""How long `import ensue` and `ensue --help` take, each in a fresh process: python -m benchmarks.imports"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.measure import interleaved, machine, median, print_table, spread, write_results

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import ensue": [sys.executable, "-c", "import ensue"],
    "ensue --help": [str(Path(sys.executable).with_name("ensue")), "--help"],
}
LIMITS = {"import ensue": 0.3, "ensue --help": 0.5}
HEAVY = ("torch", "transformers", "pyarrow", "spacy", "numpy")


def loaded(statement: str) -> list[str]:
    """Which of the heavy packages a statement has loaded by its end."""
    code = f"import sys\n{statement}\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def main() -> None:
    contenders = {
        name: lambda command=command: subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        for name, command in COMMANDS.items()
    }
    seconds = interleaved(contenders, rounds=7)
    results = {
        name: {"seconds": median(readings), "spread": spread(readings), "limit": LIMITS.get(name)}
        for name, readings in seconds.items()
    }
    heavy = {"import ensue": loaded("import ensue"), "ensue --help": loaded("import ensue.cli")}
    print_table(
        [
            ("", "seconds", "spread", "limit", "heavy packages loaded"),
            *(
                (name, row["seconds"], row["spread"], row["limit"] or "", " ".join(heavy.get(name, [])))
                for name, row in results.items()
            ),
        ]
    )
    record = {"machine": machine("tyro", "torch"), "commands": results, "heavy_packages_loaded": heavy}
    print(f"\nwritten to {write_results('imports', record)}")


if __name__ == "__main__":
    main()
