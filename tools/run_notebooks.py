"""Works through the course's notebooks, each in a kernel of its own, and prints a closing table.

    python tools/run_notebooks.py                    # all of them; executed copies in runs/course/
    python tools/run_notebooks.py 1 2                # notebooks 01 and 02
    python tools/run_notebooks.py --data ../shared/carvana     # on a folder with an archive pair
    python tools/run_notebooks.py --in-place         # rewrite the committed outputs (built-in pack)

A notebook that fails stops the run: the message names notebook, cell and error, and the copy in the
output folder holds everything up to there. The last column is what the cell tagged "key-figure"
printed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm.auto import tqdm
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PROGRESS = re.compile(r"\d+%\|.*\||\d+(\.\d+)?\s*(it|[kMG]?B|[a-z]+)/s\b|\?(it|B)/s|it \[\d\d:\d\d")


class NotebookFailed(Exception):  # noqa: N818 - what happened, said plainly
    """A cell raised: notebook, cell number, and the error."""


@dataclass(frozen=True)
class Result:
    """One line of the closing table."""

    name: str
    seconds: float
    key_figure: str


def find_notebooks(numbers: list[str], solutions: bool = False) -> list[Path]:
    """Notebooks by number ("2" or "02"), all of them for an empty list; SystemExit if unknown."""
    folder = NOTEBOOKS / "solutions" if solutions else NOTEBOOKS
    everything = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    unknown = [n for n in numbers if not any(p.name.startswith(f"{n:0>2}_") for p in everything)]
    if unknown or not everything:
        known = ", ".join(path.name[:2] for path in everything) or "none"
        raise SystemExit(f"error: no notebook {', '.join(unknown)} here; there are: {known}")
    wanted = [f"{number:0>2}" for number in numbers]
    return [path for path in everything if not wanted or path.name[:2] in wanted]


def data_setting(data: str) -> str:
    """Value for UNET_COURSE_DATA: "studio", "kaggle", or an absolute folder.

    A folder that is not there ends the program with a message.
    """
    if data in ("studio", "kaggle"):
        return data
    folder = Path(data).expanduser().resolve()
    if not folder.is_dir():
        raise SystemExit(
            f"error: data={data}: expected studio, kaggle or a folder with train.zip and "
            f"train_masks.zip; found no folder {folder}"
        )
    return str(folder)


def course_environment(data: str, quick: bool = False, full: bool = False) -> dict[str, str]:
    """Environment of the kernels: data source, quick mode, this interpreter's own kernel.

    full: what committed outputs are made with, the CPU and no quick mode, whatever is set outside.
    """
    environment = {**os.environ, "UNET_COURSE_DATA": data_setting(data)}
    environment["JUPYTER_PREFER_ENV_PATH"] = "1"
    # Threads that wait for each other by spinning take the very cores that the others need: with
    # one other busy process on two cores a training step took six times as long.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if quick:
        environment["UNET_COURSE_QUICK"] = "1"
    if full:
        environment["CUDA_VISIBLE_DEVICES"] = ""
        environment.pop("UNET_COURSE_QUICK", None)
    return environment


def execute(
    path: Path,
    environment: dict[str, str],
    bar: tqdm | None = None,
    timeout: float | None = None,
) -> nbformat.NotebookNode:
    """Run a notebook from top to bottom in a new kernel, in its own folder; returns it executed.

    Raises NotebookFailed; its ``notebook`` attribute holds what had run until then.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    with tempfile.TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True) as folder:
        client = new_client(notebook, path.parent, Path(folder), bar, timeout)
        try:
            client.execute(env=environment)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failure = NotebookFailed(describe_failure(path, notebook, error))
            failure.notebook = notebook
            raise failure from None
        except AssertionError:
            # nbclient answers Ctrl-C and SIGTERM by ending the kernel, and then misses it.
            if client.km is None:
                raise KeyboardInterrupt from None
            raise
    return notebook


def new_client(
    notebook: nbformat.NotebookNode,
    where: Path,
    line: Path,
    bar: tqdm | None,
    timeout: float | None,
) -> NotebookClient:
    """What runs a notebook's cells in `where`; line: an empty folder for talking to the kernel."""
    client = NotebookClient(
        notebook,
        timeout=timeout,
        startup_timeout=180,  # seconds; a busy machine takes longer than the usual 60
        kernel_name="python3",
        store_widget_state=False,
        record_timing=False,
        # Newer kernels warn about loopback sockets without encryption; errors still come through.
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(where)}},
        on_cell_executed=lambda cell, **_: bar.update() if bar is not None else None,
        config=kernel_line(line),
    )
    # Nobody moves a slider here. Without a page that answers, what a widget draws first becomes an
    # output of its cell, the static picture; and nothing is sent to the kernel between two cells,
    # after which ipykernel 7 now and then waits for ever.
    client.comm_open_handlers["jupyter.widget"] = lambda message: None
    return client


def kernel_line(folder: Path) -> Config:
    """Settings that let a kernel listen on files in `folder` instead of on ports.

    A port is chosen before the kernel starts; another kernel that starts beside it may take it, and
    the first then dies ("Address already in use").
    """
    if sys.platform == "win32":  # it has no such files
        return Config()
    return Config(
        {"KernelManager": {"transport": "ipc", "connection_file": str(folder / "kernel.json")}}
    )


def describe_failure(path: Path, notebook: nbformat.NotebookNode, error: Exception) -> str:
    """Notebook, cell number, its first line, and the error, in a few lines."""
    index, section = 0, ""
    for index, cell in enumerate(notebook.cells, start=1):  # noqa: B007 - used after the loop
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#+ (.+)$", cell.source, flags=re.MULTILINE)
            section = headings[-1] if headings else section
            continue
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed or (cell.source.strip() and cell.execution_count is None):
            break
    message = ANSI.sub("", getattr(error, "evalue", "") or str(error)).strip()
    kind = getattr(error, "ename", type(error).__name__)
    first = notebook.cells[index - 1].source.strip().splitlines()[0]
    return f"{path.name}, cell {index} ({section!r}, starts with {first!r}): {kind}: {message}"


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave what a reader needs: no widget state, progress bars, timing, versions or machine paths.

    Works in place and returns the notebook.
    """
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = _clean_outputs(_streams_joined(cell.outputs))
    return notebook


def _streams_joined(outputs: list) -> list:
    """The outputs with pieces of one stream put together: a bar is wiped by the piece after it."""
    joined: list = []
    for output in outputs:
        streams = [o for o in (output, *joined[-1:]) if o.output_type == "stream"]
        if len(streams) == 2 and streams[0].name == streams[1].name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _clean_outputs(outputs: list) -> list:
    kept: list = []
    for output in outputs:
        if output.output_type == "stream":
            text = _without_progress(_without_paths(output.text))
            if kept and kept[-1].output_type == "stream" and kept[-1].name == output.name:
                kept[-1].text += text
            elif text.strip():
                output.text = text
                kept.append(output)
        elif output.output_type == "error":
            output.traceback = [_without_paths(line) for line in output.traceback]
            kept.append(output)
        elif not any("widget" in kind for kind in output.data) and not _is_style_alone(output.data):
            for kind, value in output.data.items():
                if kind.startswith("text/") and isinstance(value, str):
                    output.data[kind] = _without_paths(value)
            kept.append(output)
    return kept


def _is_style_alone(data: dict) -> bool:
    """Whether an output shows nothing: the style that switches between still picture and widget."""
    text = data.get("text/html", "")
    return "<style>" in text and not re.sub(r"(?s)<style>.*?</style>|<[^>]*>|\s", "", text)


def _without_progress(text: str) -> str:
    """What a terminal would show: after a carriage return the line is overwritten; no bars."""
    lines = [line.rsplit("\r", 1)[-1] for line in ANSI.sub("", text).split("\n")]
    return "\n".join(line for line in lines if not PROGRESS.search(line))


def _without_paths(text: str) -> str:
    for folder, shown in ((f"{ROOT}{os.sep}", ""), (str(ROOT), "."), (str(Path.home()), "~")):
        text = text.replace(folder, shown)
    return text


def key_figure(notebook: nbformat.NotebookNode) -> str:
    """The last line printed by the cell tagged "key-figure"; empty if there is none."""
    for cell in notebook.cells:
        if "key-figure" in cell.metadata.get("tags", []):
            text = "".join(o.text for o in cell.outputs if o.output_type == "stream")
            return ([""] + [line.strip() for line in text.splitlines() if line.strip()])[-1]
    return ""


def run(paths: list[Path], environment: dict[str, str], out: Path | None, timeout: float | None):
    """Run the notebooks in order and write them (out None: in place); yields a Result each."""
    cells = {p: sum(c.cell_type == "code" for c in nbformat.read(p, 4).cells) for p in paths}
    with tqdm(total=sum(cells.values()), unit="cell", dynamic_ncols=True) as bar:
        for path in paths:
            bar.set_description(path.stem)
            start = time.perf_counter()
            target = path if out is None else out / path.name
            try:
                notebook = execute(path, environment, bar, timeout)
            except NotebookFailed as failure:
                if out is not None:
                    nbformat.write(failure.notebook, target)
                raise
            nbformat.write(clean(notebook), target)
            yield Result(path.stem, time.perf_counter() - start, key_figure(notebook))


def print_table(results: list[Result]) -> None:
    """The closing table: notebook, seconds, key figure."""
    width = max([len("notebook")] + [len(result.name) for result in results])
    print(f"\n{'notebook':<{width}}  seconds  key figure")
    for result in results:
        print(f"{result.name:<{width}}  {result.seconds:7.1f}  {result.key_figure}")
    total = sum(result.seconds for result in results)
    print(f"{'together':<{width}}  {total:7.1f}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Work through the course's notebooks in order.")
    parser.add_argument("numbers", nargs="*", help="notebook numbers; all unless given")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "course", help="for the copies")
    parser.add_argument("--in-place", action="store_true", help="rewrite the committed outputs")
    parser.add_argument("--data", default=os.environ.get("UNET_COURSE_DATA") or "studio")
    parser.add_argument("--quick", action="store_true", help="same cells, smaller numbers")
    parser.add_argument("--solutions", action="store_true", help="the solutions' notebooks instead")
    parser.add_argument("--timeout", type=float, default=None, help="seconds a cell may take")
    options = parser.parse_args(arguments)
    if options.in_place and (options.data != "studio" or options.quick):
        parser.error("committed outputs come from the built-in pack in the full profile: "
                     "--in-place goes with neither --data nor --quick")  # fmt: skip
    paths = find_notebooks(options.numbers, options.solutions)
    environment = course_environment(options.data, options.quick, full=options.in_place)
    out = None if options.in_place else options.out / ("solutions" if options.solutions else "")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    failure = None
    try:
        for result in run(paths, environment, out, options.timeout):
            results.append(result)
    except NotebookFailed as stopped:
        failure = stopped
    except KeyboardInterrupt:
        failure = NotebookFailed("stopped from outside (Ctrl-C or a signal)")
    print_table(results)
    if failure is not None:
        print(f"error: {failure}", file=sys.stderr)
    return int(failure is not None)


if __name__ == "__main__":
    raise SystemExit(main())
