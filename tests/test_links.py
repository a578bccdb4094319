"""No dead end: every link, badge, anchor and picture of README, glossary, cards and notebooks.

Nothing is fetched. A path must lead to a file of the repository, an anchor to a heading or a mark
that is there, an address on another machine to a host that this project names on purpose. Headings
of notebooks get the anchors that nbconvert (and with it GitHub) and JupyterLab give them: the text,
with hyphens for spaces. Headings of Markdown files get different anchors on GitHub and in
JupyterLab, so links into such files lead to marks, <a id="…">, which work on both.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mistune
import nbformat
import pytest
from nbconvert.filters import markdown2html

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import badges  # noqa: E402

GLOSSARY = ROOT / "notebooks" / "GLOSSARY.md"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("[0-9][0-9]_*.ipynb"))
TEXTS = [ROOT / "README.md", GLOSSARY, *sorted((ROOT / "data").glob("studio/**/*.md"))]
DOCUMENTS = TEXTS + NOTEBOOKS + SOLUTIONS
# Where a link may lead outside this repository; add a host here only after opening the page.
HOSTS = {
    "albumentations.ai",
    "arxiv.org",
    "www.kaggle.com",
    # what the badges are made of, and where they lead
    "assets.paperspace.io",
    "codespaces.new",
    "colab.research.google.com",
    "console.paperspace.com",
    "github.com",
    "kaggle.com",
    "mybinder.org",
}
MARK = re.compile(r"""<[a-z]+[^>]*\bid=["']([^"']+)["']""")
TARGET = re.compile(r"""\b(href|src)=["']([^"']*)["']""")
PARSE = mistune.create_markdown(renderer="ast", plugins=["table"])

each = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix().removeprefix("notebooks/")
)


@cache
def parts(path: Path) -> list[str]:
    """The Markdown of a document: the whole file, or its text cells one by one."""
    if path.suffix != ".ipynb":
        return [path.read_text(encoding="utf-8")]
    notebook = nbformat.read(path, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def walk(tokens: list[dict]) -> Iterator[dict]:
    for token in tokens:
        yield token
        yield from walk(token.get("children") or [])


def text_of(token: dict) -> str:
    return "".join(t["raw"] for t in walk(token.get("children") or []) if "raw" in t)


def targets(markdown: str) -> Iterator[tuple[str, str, str]]:
    """(kind, address, words) of every link and picture; kind is "link" or "image"."""
    for token in walk(PARSE(markdown)):
        if token["type"] in ("link", "image"):
            yield token["type"], token["attrs"]["url"], text_of(token)
        elif token["type"] in ("block_html", "inline_html"):
            for attribute, address in TARGET.findall(token["raw"]):
                yield ("link" if attribute == "href" else "image"), address, "html"


def all_targets(path: Path) -> list[tuple[str, str, str]]:
    return [found for part in parts(path) for found in targets(part)]


@cache
def anchors(path: Path) -> set[str]:
    """What a link into this document may name after the #."""
    if path.suffix == ".ipynb":
        return {mark for part in parts(path) for mark in MARK.findall(markdown2html(part))}
    return set(MARK.findall(path.read_text(encoding="utf-8")))


def problem(path: Path, kind: str, address: str, words: str) -> str | None:
    """What is wrong with one link or picture of a document; None if nothing is."""
    url = urlsplit(address)
    if not address.strip() or address == "#":
        return "an empty address"
    if not words.strip():
        return "nothing to read: a link needs words, a picture an alt text"
    if url.scheme or url.netloc:
        return elsewhere(address)
    if kind == "image" and len(words.split()) < 3:
        return "a picture's alt text should say what it shows"
    file = (path.parent / unquote(url.path)).resolve() if url.path else path
    if ROOT not in file.parents or not file.exists():
        return "no such file here"
    if url.fragment and unquote(url.fragment) not in anchors(file):
        return "no such heading or mark there"
    return None


def elsewhere(address: str) -> str | None:
    """What is wrong with an address on another machine."""
    url = urlsplit(address)
    if url.scheme != "https":
        return "expected https"
    if url.hostname not in HOSTS or url.port or url.username:
        return f"the host {url.netloc} is not in HOSTS"
    if re.search(r"[\s<>\"]", address):
        return "a character that no address holds"
    file = unquote(address).partition(f"/{badges.BRANCH}/")[2]
    if f"/blob/{badges.BRANCH}/" in address and not (ROOT / file).is_file():
        return "no such file in this repository"
    return None


@each
def test_every_link_and_picture_leads_somewhere(path):
    wrong = [(a, why) for kind, a, w in all_targets(path) if (why := problem(path, kind, a, w))]
    assert not wrong, "\n".join(f"{address}: {why}" for address, why in wrong)


@each
def test_nothing_that_looks_like_a_link_is_left_as_text(path):
    """A link that is written wrongly is shown as it was typed, brackets and all."""
    for part in parts(path):
        for token in walk(PARSE(part)):
            if token["type"] == "text":
                assert "](" not in token["raw"], token["raw"]


@pytest.mark.parametrize(
    ("markdown", "why"),
    [
        ("[a](nowhere.md)", "no such file"),
        ("[a](../../outside.md)", "no such file"),
        ("[a]()", "an empty address"),
        ("[a](#)", "an empty address"),
        ("[](GLOSSARY.md)", "nothing to read"),
        ("[a](GLOSSARY.md#no-such-term)", "no such heading"),
        ("[a](04_build_the_unet.ipynb#4.-No-such-section)", "no such heading"),
        ("[a](04_build_the_unet.ipynb#4.-how-do-two-rounds-make-a-block)", "no such heading"),
        ("![](../figures/hero.png)", "nothing to read"),
        ("![car](../figures/hero.png)", "alt text"),
        ("![three words here](../figures/none.png)", "no such file"),
        ("[a](http://arxiv.org/abs/1)", "expected https"),
        ("[a](https://evil.example/x)", "not in HOSTS"),
        ("[a](https://github.com/o/n/blob/main/notebooks/99.ipynb)", "no such file"),
        ('<a href="nowhere.md">a</a>', "no such file"),
    ],
)
def test_what_is_wrong_is_found(markdown, why):
    (found,) = targets(markdown)
    assert why in (problem(GLOSSARY, *found) or "")


@pytest.mark.parametrize(
    "markdown",
    [
        "[a](GLOSSARY.md#dice)",
        "[a](04_build_the_unet.ipynb#4.-How-do-two-rounds-make-a-block?)",
        "![a car drawn here](../figures/hero.png)",
        "[a](https://arxiv.org/abs/1505.04597)",
        "| a |\n|---|\n| [b](00_start_here.ipynb) |",
    ],
)
def test_what_is_right_passes(markdown):
    (found,) = targets(markdown)
    assert problem(GLOSSARY, *found) is None


# --- the glossary --------------------------------------------------------------------------------

ENTRY = re.compile(r'^<a id="([^"]+)"></a>\*\*(.+?)\*\*: (.+)$', re.MULTILINE)
FIRST = re.compile(
    r" First in \[(\d\d), section (\d+)\]\(([^)#]+)#([^)]+)\)(?:; explained in .+)?\.$"
)
# What counts as the term in the notebooks' prose, where it is not simply the term or its plural.
FORMS = {
    "archive-pair": "archives|archive pair",
    "bce": "binary cross-entropy",
    "bilinear": r"may be averaged|\*linear\* interpolation",
    "class-index": "class ind(?:ex|ices)",
    "cross-entropy": "(?<!binary )cross-entropy",
    "feature-map": "maps?",
    "largest-component": "largest(?: connected)? piece",
    "mixed-precision": r"\*mixed\* precision|mixed precision",
    "normalise": "loses its mean|normalised",
    "prepared-folder": "prepared folder|train_images",
    "probability": "probabilit(?:y|ies)",
    "precision": r"\*Precision\*",
    "recall": r"\*Recall\*",
    "receptive-field": "far does one pixel see",
    "run": "a run needs|your run",
    "soft-dice": "Dice itself, made soft",
    "subnormal": r"\*subnormal\* numbers",
    "test": r"cars to test on|test photos",
    "training": "cars to train on|training photos",
    "transposed-convolution": r"\*transposed\* convolution|transposed convolution",
    "validation": "cars to validate on|validation photos",
}
LINKED = re.compile(r"\[([^\]]+)\]\(GLOSSARY\.md#[^)]+\)")


def entries() -> list[tuple[str, str, str]]:
    """(mark, term, text) of every entry of the glossary."""
    return ENTRY.findall(GLOSSARY.read_text(encoding="utf-8"))


def sections() -> list[tuple[str, str, str]]:
    """(notebook, heading, prose) of every numbered section, in the order of the course."""
    found: list[list[str]] = []
    for path in NOTEBOOKS:
        text = "\n".join(parts(path)[1:])
        for part in re.split(r"^(?=## )", text, flags=re.MULTILINE):
            heading = re.match(r"## (\d+\. .+)", part)
            if heading:
                found.append([path.name, heading[1], LINKED.sub(r"\1", part)])
    return [tuple(section) for section in found]


def test_the_glossary_is_in_order_and_every_entry_is_a_sentence_with_a_link():
    found = entries()
    assert len(found) >= 60
    terms = [term.lower() for _, term, _ in found]
    assert terms == sorted(terms) and len(set(terms)) == len(terms)
    lines = GLOSSARY.read_text(encoding="utf-8").splitlines()
    assert len(found) == sum(line.startswith("<a id=") for line in lines)
    for mark, term, text in found:
        assert re.fullmatch(r"[a-z0-9-]+", mark), mark
        assert FIRST.search(text), term
        definition = FIRST.sub("", text)
        assert (
            definition.endswith((".", ".)")) and len(re.findall(r"\.(?: |$)", definition)) <= 3
        ), term


def first_section(mark: str, term: str) -> tuple[str, str]:
    plain = re.escape(term.partition(" (")[0])
    form = re.compile(
        rf"(?<![\w-])(?:{FORMS.get(mark, plain + '(?:s|es)?')})(?![\w-])", re.IGNORECASE
    )
    for notebook, heading, prose in sections():
        if form.search(prose):
            return notebook, heading
    raise AssertionError(f"{term}: no section of any notebook has this word")


def test_every_term_is_linked_to_the_section_where_it_first_appears():
    wrong = []
    for mark, term, text in entries():
        notebook, heading = first_section(mark, term)
        number, section, file, anchor = FIRST.search(text).groups()
        expected = (notebook[:2], heading.partition(".")[0], notebook, heading.replace(" ", "-"))
        if (number, section, file, anchor) != expected:
            wrong.append(
                f"{term}: [{expected[0]}, section {expected[1]}]({notebook}#{expected[3]})"
            )
    assert not wrong, "the glossary should say:\n" + "\n".join(wrong)


def test_numbers_in_the_glossarys_links_are_those_of_their_targets():
    text = GLOSSARY.read_text(encoding="utf-8")
    found = re.findall(r"\[(\d\d), section (\d+)\]\((\d\d)_\w+\.ipynb#(\d+)\.-", text)
    assert found and all((a, b) == (c, d) for a, b, c, d in found)


def test_notebooks_link_back_to_the_glossary_once_a_term():
    links: dict[str, list[str]] = {}
    for path in NOTEBOOKS:
        for _, address, _ in all_targets(path):
            if address.startswith("GLOSSARY.md#"):
                links.setdefault(address.partition("#")[2], []).append(path.name)
    assert len(links) >= 30
    assert not {mark: names for mark, names in links.items() if len(names) > 1}


# --- a way through -------------------------------------------------------------------------------


def table_rows() -> dict[str, list[str]]:
    """README's table of notebooks: file name -> cells after the first."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[[^\]]+\]\(notebooks/([^)]+\.ipynb)\) \|(.+)\|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in rows}


def test_readmes_map_names_every_notebook_with_its_title_and_times():
    rows = table_rows()
    assert list(rows) == [path.name for path in NOTEBOOKS]
    for path in NOTEBOOKS:
        title = parts(path)[0].splitlines()[0].removeprefix("# ").replace(" ·", "")
        assert f"[{title}](notebooks/{path.name})" in (ROOT / "README.md").read_text("utf-8")
        made, cores, gpu = rows[path.name]
        assert len(made.split()) >= 3 and cores and gpu


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_five_questions_with_folded_answers(path):
    cells = [part for part in parts(path) if part.startswith("## Five questions")]
    assert len(cells) == 1
    folded = re.findall(
        r"<details>\n<summary><b>(\d)\.</b> (.+?)</summary>\n\n(.+?)\n\n</details>",
        cells[0],
        re.DOTALL,
    )
    assert [number for number, _, _ in folded] == list("12345")
    assert cells[0].count("<details>") == cells[0].count("</details>") == 5
    for _, question, answer in folded:
        assert (
            question.endswith(("?", ".")) and "`" not in question
        )  # a summary is HTML, not Markdown
        assert 5 <= len(answer.split()) <= 80
    order = [part.splitlines()[0] for part in parts(path) if re.match("## [A-Z]", part)]
    assert order == ["## What you can do now", "## Five questions", "## Exercises"]
