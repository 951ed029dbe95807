"""The recipes: each training fits the dataset that its own prepare config makes."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from ocr_pipeline.config import load_config
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.render import RenderConfig
from ocr_pipeline.config.train import AnyTrainConfig, DetTrainConfig, RecTrainConfig

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "configs" / "recipes"
PAGE = ROOT / "docs" / "recipes.md"
PREPARES = sorted(RECIPES.glob("1_prepare_*.yaml"))
TRAININGS = sorted(RECIPES.glob("2_train_*.yaml"))
WANTED = {
    "cn_plates", "wire_tags_rec", "wire_tags_det", "game_quest_ui_rec", "game_quest_ui_det",
    "bank_slip", "government_form", "display",
}  # fmt: skip


def prepare_config(path: Path) -> PrepareConfig:
    return load_config(TypeAdapter(PrepareConfig), path)


def train_config(path: Path) -> RecTrainConfig | DetTrainConfig:
    adapter: TypeAdapter[RecTrainConfig | DetTrainConfig] = TypeAdapter(AnyTrainConfig)
    return load_config(adapter, path)


def made_for(training: RecTrainConfig | DetTrainConfig) -> PrepareConfig:
    found = [c for c in map(prepare_config, PREPARES) if c.out == training.dataset]
    assert len(found) == 1, f"{training.dataset}: made by {len(found)} prepare configs"
    return found[0]


def commands(script: str) -> list[list[str]]:
    """Words of each command of the page that runs this script."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    lines = [shlex.split(line) for block in blocks for line in block.splitlines() if line]
    return [words for words in lines if words[:2] == ["python", f"scripts/{script}.py"]]


def test_there_is_a_recipe_for_every_set() -> None:
    assert {prepare_config(path).out.name for path in PREPARES} == WANTED
    assert {train_config(path).dataset.name for path in TRAININGS} == WANTED


@pytest.mark.parametrize("path", TRAININGS, ids=lambda path: path.stem)
def test_a_training_fits_its_dataset(path: Path) -> None:
    training = train_config(path)
    prepared = made_for(training)
    assert training.task == prepared.task
    assert training.run_dir.name == prepared.out.name
    if isinstance(training, RecTrainConfig):
        assert training.start == prepared.model
        assert training.image == prepared.image
        allowed = {"model": {"fail"}, "union": {"union", "new"}, "new": {"new"}}
        assert training.charset in allowed[prepared.dictionary.mode]


@pytest.mark.parametrize("path", [*PREPARES, *TRAININGS], ids=lambda path: path.stem)
def test_a_recipe_states_its_seed(path: Path) -> None:
    assert "seed" in yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize("path", [*PREPARES, *TRAININGS], ids=lambda path: path.stem)
def test_a_recipe_says_how_it_is_run(path: Path) -> None:
    script = "prepare" if path in PREPARES else "train"
    name = path.relative_to(ROOT).as_posix()
    assert f"python scripts/{script}.py --config {name}" in path.read_text("utf-8")
    assert ["python", f"scripts/{script}.py", "--config", name] in commands(script)


@pytest.mark.parametrize("path", TRAININGS, ids=lambda path: path.stem)
def test_the_page_measures_each_run_on_its_own_dataset(path: Path) -> None:
    training = train_config(path)
    places = [str(training.run_dir), str(training.dataset)]
    assert ["python", "scripts/evaluate.py", *places] in commands("evaluate")


@pytest.mark.parametrize("path", PREPARES, ids=lambda path: path.stem)
def test_what_is_held_out_is_never_trained_on(path: Path) -> None:
    config = prepare_config(path)
    train = {source.labels for source in config.train_labels}
    assert not train & {source.labels for source in config.val_labels}
    assert config.check.action("leak") == "refuse"


@pytest.mark.parametrize("domain", ["bank_slip", "government_form", "display"])
def test_rendered_parts_are_drawn_with_seeds_of_their_own(domain: str) -> None:
    drawn = [
        load_config(TypeAdapter(RenderConfig), ROOT / words[3], words[4:])
        for words in commands("render")
    ]
    parts = [config for config in drawn if config.domain == domain]
    assert len(parts) == 2
    train, held_out = parts
    assert train.seed != held_out.seed
    assert held_out.train_lines == held_out.train_pages == 0
    prepared = prepare_config(RECIPES / f"1_prepare_{domain}.yaml")
    assert [source.labels for source in prepared.train_labels] == [f"{train.out}/rec_train.txt"]
    assert [source.labels for source in prepared.val_labels] == [f"{held_out.out}/rec_val.txt"]
