"""What the pages name exists: files, headings, settings, metrics, rooms."""

import re
from pathlib import Path

import pytest

from ldsync.config import Settings
from ldsync.config.schema import FILE_SUFFIX, all_keys
from ldsync.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
KEYS = {key.path for key in all_keys(Settings)}
VARIABLES = {key.variable for key in all_keys(Settings)} | {"LDSYNC_CONFIG"}
SECTIONS = "|".join(sorted({key.partition(".")[0] for key in KEYS if "." in key}))
NAME = re.compile(rf"`((?:{SECTIONS})\.\w+)(?: = [^`]*)?`")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def _text(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them of its headings."""
    headings = re.findall(r"^#+ (.*)$", _text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _exported(name: str, metrics: set[str]) -> bool:
    return name in metrics or re.sub(r"_(?:bucket|count|sum)$", "", name) in metrics


@pages
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    """Within the repository; addresses elsewhere are not asked."""
    for link in re.findall(r"\]\(([^)\s]+)\)", _text(page)):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


@pages
def test_every_setting_that_is_named_exists(page: Path) -> None:
    """By itself or with a value; events of the log and keys of /status look alike."""
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "ldsync").rglob("*.py"))
    report = (ROOT / "ldsync" / "report.py").read_text("utf-8")
    letters = (ROOT / "ldsync" / "kafka" / "dead_letters.py").read_text("utf-8")

    for name in NAME.findall(_text(page)):
        shown = f'"{name.partition(".")[2]}": '
        known = name in KEYS or f'"{name}"' in sources
        assert known or shown in report or shown in letters, name


@pages
def test_every_variable_that_is_named_exists(page: Path) -> None:
    """In examples as well; placeholders have angle brackets."""
    for name in re.findall(r"\bLDSYNC_[A-Z]\w+", page.read_text(encoding="utf-8")):
        assert name in VARIABLES or name.removesuffix(FILE_SUFFIX) in VARIABLES, name


@pages
def test_every_metric_that_is_named_exists(page: Path) -> None:
    """As it is exported, or as Prometheus splits a histogram."""
    metrics = {metric.name for metric in Metrics().definitions}

    for name in re.findall(r"`(ldsync_[a-z_]+)", _text(page)):
        assert _exported(name, metrics), name


def test_the_rooms_on_the_page_are_those_of_the_package() -> None:
    """docs/design.md says where to look for what: packages have a slash, modules none."""
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rooms = design.split("\n## The rooms\n")[1].split("```")[1]
    named = set(re.findall(r"^  (\w+/?)", rooms, re.MULTILINE))
    named |= set(re.findall(r"(\w+): ", " ".join(re.findall(r"\((.*?)\)", rooms, re.DOTALL))))
    package = {
        path.stem + "/" * path.is_dir()
        for path in (ROOT / "ldsync").iterdir()
        if not path.name.startswith("__") and path.name != "py.typed"
    }

    assert named == package
