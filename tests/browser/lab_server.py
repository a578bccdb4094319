"""JupyterLab as a process of its own, on a free port of this machine, with settings of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from processes import free_port

NO_NETWORK = Path(__file__).resolve().parents[1] / "no_network"
PARTS = (
    "configs",
    "notebooks",
    "figures",
    "unet_helpers",
    "data/studio",
    "data/weights",
    "data/records",
)
START = 180  # seconds until it must answer; a busy machine is slow
# Kernels listen on files where they can: a port that is chosen for one may be taken by the time it
# starts, and tests that run beside these start kernels too.
TRANSPORT = "ipc" if sys.platform == "linux" else "tcp"


def copy_course(root: Path, target: Path) -> Path:
    """Copy what notebooks need from the checkout `root` to `target`; returns target."""
    for part in PARTS:
        shutil.copytree(root / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "pyproject.toml", target)
    return target


class Lab:
    """A running JupyterLab: ``with Lab(folder) as lab: ... lab.address("tree/a.ipynb")``.

    folder: what it serves, and where its kernels find the course. starts_kernels: whether a
    notebook that is opened gets a kernel.
    """

    def __init__(self, folder: Path, starts_kernels: bool = True) -> None:
        self.folder, self.starts_kernels = folder, starts_kernels
        # One person's home for all servers: what she has run, JupyterLab trusts and shows in full.
        self.home = folder.parent / "home"
        self.log = self.home / f"lab{'' if starts_kernels else '_without_kernels'}.log"
        # Not in the home: a kernel listens on a file whose path has a hundred letters at most.
        self._runtime = tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True)
        self.url, self.token = "", secrets.token_hex(16)
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Lab:
        self.home.mkdir(exist_ok=True)
        self._answer_the_question_about_news()
        port = free_port()
        options = {
            "ServerApp.root_dir": self.folder,
            "ServerApp.port": port,
            "ServerApp.port_retries": 0,
            "IdentityProvider.token": self.token,
            "LabApp.notebook_starts_kernel": self.starts_kernels,
            # What would ask the network for updates and for extensions.
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "LabApp.extension_manager": "readonly",
            "KernelManager.transport": TRANSPORT,
        }
        words = [f"--{key}={value}" for key, value in options.items()]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *words],
            env=self._environment(), stdout=self.log.open("wb"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.url = f"http://127.0.0.1:{port}"
        self._wait_until_it_answers()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop_kernels()
        finally:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._runtime.cleanup()

    def _environment(self) -> dict[str, str]:
        folders = {
            "HOME": ".", "USERPROFILE": ".", "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython", "MPLCONFIGDIR": "matplotlib",
        }  # fmt: skip
        own = {key: str(self.home / name) for key, name in folders.items()}
        for path in own.values():
            Path(path).mkdir(exist_ok=True)
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith("UNET_COURSE_")
        }
        return inherited | own | {
            "JUPYTER_RUNTIME_DIR": self._runtime.name,
            "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this environment
            "PYTHONPATH": os.pathsep.join([str(NO_NETWORK), str(self.folder)]),
            "UNET_COURSE_QUICK": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_WAIT_POLICY": "PASSIVE",
        }  # fmt: skip

    def _answer_the_question_about_news(self) -> None:
        """With no, or JupyterLab lays it over the page."""
        folder = self.home / "settings" / "@jupyterlab" / "apputils-extension"
        folder.mkdir(parents=True, exist_ok=True)
        answer = {"fetchNews": "false", "checkForUpdates": False}
        text = json.dumps(answer)
        (folder / "notification.jupyterlab-settings").write_text(text, encoding="utf-8")

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + START
        while time.monotonic() < end and self._process.poll() is None:
            try:
                self.ask("api")
                return
            except OSError:
                time.sleep(0.1)  # nothing announces a port that opens
        raise RuntimeError(f"JupyterLab does not answer:\n{self.log.read_text('utf-8')[-2000:]}")

    def ask(self, path: str, method: str = "GET") -> object:
        """What the server answers to a request to its REST interface; OSError if it does not."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def address(self, path: str) -> str:
        """Where a browser finds a part of JupyterLab, such as "tree/notebooks/00.ipynb"."""
        return f"{self.url}/lab/{path}?reset&token={self.token}"

    def stop_kernels(self) -> None:
        """End the sessions of all notebooks, and their kernels with them."""
        for session in self.ask("api/sessions"):
            self.ask(f"api/sessions/{session['id']}", "DELETE")
