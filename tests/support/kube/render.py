"""Renders the chart with helm; the results are kept in `tests/unit/helm`.

`python -m tests.support.kube.render` writes these files again.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.support.kube.programs import PROGRAMS, build, find

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy" / "helm" / "hibernaut"
KEPT = ROOT / "tests" / "unit" / "helm"
VARIANTS = ("deployment", "builds")


def helm() -> str | None:
    """The path of helm: an installed one or one that was built; None if there is neither."""
    return shutil.which("helm") or (str(built) if (built := find("helm")) else None)


def rendered(program: str, variant: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `helm template` with the values of a variant."""
    values = str(KEPT / f"{variant}.values.yaml")
    command = [program, "template", "agents", str(CHART), "--namespace", "agents", "--values", values]
    # A helm built by `go install` assumes a Kubernetes version of 2020.
    command += ["--kube-version", PROGRAMS["kube-apiserver"].version, *options]
    return subprocess.run(command, capture_output=True, text=True)


def main() -> None:
    """Render every variant and write the files again."""
    program = helm() or str(build("helm"))
    for variant in VARIANTS:
        done = rendered(program, variant)
        assert done.returncode == 0, done.stderr
        (KEPT / f"{variant}.yaml").write_text(done.stdout)


if __name__ == "__main__":
    main()
