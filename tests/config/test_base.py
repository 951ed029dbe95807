import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from ocr_pipeline.config.base import Config, dump_config, load_config, overrides_from
from ocr_pipeline.config.export import ExportConfig
from ocr_pipeline.config.model import DetModelSpec, ModelSpec, RecModelSpec
from ocr_pipeline.config.prepare import PrepareConfig
from ocr_pipeline.config.render import RenderConfig
from ocr_pipeline.config.serve import ServeConfig
from ocr_pipeline.config.train import AnyTrainConfig, DetTrainConfig, OptimConfig, RecTrainConfig
from ocr_pipeline.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"
BY_PREFIX: dict[str, type[Config]] = {
    "0_render_": RenderConfig,
    "1_prepare_": PrepareConfig,
    "2_train_det_": DetTrainConfig,
    "2_train_rec_": RecTrainConfig,
    "3_export": ExportConfig,
    "4_serve": ServeConfig,
}
TRAIN = TypeAdapter(RecTrainConfig)
MODEL: TypeAdapter[DetModelSpec | RecModelSpec] = TypeAdapter(ModelSpec)
LEAST = "dataset: work/a\nrun_dir: work/b\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(folder: Path, text: str, *overrides: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(TRAIN, path, overrides)
    return str(caught.value).replace(f"{path}: ", "").splitlines()


def model_faults(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(MODEL, path)
    return str(caught.value).replace(f"{path}: ", "").splitlines()


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.y*ml")), ids=lambda path: path.name)
def test_every_config_of_the_project_loads(path: Path) -> None:
    kinds = [kind for prefix, kind in BY_PREFIX.items() if path.name.startswith(prefix)]
    assert len(kinds) == 1, f"{path}: its name starts with none of {', '.join(BY_PREFIX)}"
    assert isinstance(load_config(TypeAdapter(kinds[0]), path), kinds[0])


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("2_train_*")), ids=lambda path: path.name)
def test_a_training_config_says_which_task_it_is_of(path: Path) -> None:
    kind = DetTrainConfig if path.name.startswith("2_train_det_") else RecTrainConfig
    assert isinstance(load_config(TypeAdapter(AnyTrainConfig), path), kind)


def test_a_training_without_a_task_is_of_a_recognizer(tmp_path: Path) -> None:
    loaded = load_config(TypeAdapter(AnyTrainConfig), write(tmp_path, LEAST))
    assert isinstance(loaded, RecTrainConfig)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("task: det\nguide: true\n", "guide: unknown key"),
        ("task: det\nloss: {focl: true}\n", "loss.focl: unknown key (did you mean loss.focal?)"),
        ("auxiliary: true\n", "auxiliary: unknown key"),
        ("task: cls\n", "task: 'cls'; allowed: 'rec', 'det'"),
    ],
)
def test_faults_of_a_training_config_are_those_of_its_task(
    tmp_path: Path, text: str, fault: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(fault)):
        load_config(TypeAdapter(AnyTrainConfig), write(tmp_path, LEAST + text))


def test_each_stage_has_a_config_in_the_project() -> None:
    names = [path.name for path in CONFIGS.rglob("*.yaml")]
    assert all(any(name.startswith(prefix) for name in names) for prefix in BY_PREFIX)


def test_file_gives_values_and_defaults_fill_the_rest(tmp_path: Path) -> None:
    config = load_config(TRAIN, write(tmp_path, LEAST + "optim: {lr: 1.0e-3}\n"))
    assert config.dataset == Path("work/a")
    assert config.optim == OptimConfig(lr=1e-3)
    assert config.steps == RecTrainConfig(dataset=Path("a"), run_dir=Path("b")).steps


def test_no_file_gives_the_defaults_and_the_overrides() -> None:
    assert load_config(TypeAdapter(ServeConfig), None, ["port=81"]) == ServeConfig(port=81)


def test_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    assert load_config(TypeAdapter(ServeConfig), write(tmp_path, "")) == ServeConfig()


def test_fault_without_a_file_is_named_config() -> None:
    with pytest.raises(ConfigError, match=r"^config: dataset: missing; this key has no default"):
        load_config(TRAIN, None)


def test_config_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ServeConfig().port = 1


def test_misspelt_key_gets_the_key_of_the_same_level(tmp_path: Path) -> None:
    assert faults(tmp_path, LEAST + "optim: {warmup_step: 3}\n") == [
        "optim.warmup_step: unknown key (did you mean optim.warmup_steps?)"
    ]


def test_key_in_the_wrong_case_gets_the_right_one(tmp_path: Path) -> None:
    assert faults(tmp_path, LEAST + "optim: {LR: 1}\n") == [
        "optim.LR: unknown key (did you mean optim.lr?)"
    ]


def test_key_one_level_too_high_gets_its_place(tmp_path: Path) -> None:
    assert faults(tmp_path, LEAST + "lr: 0.1\n") == ["lr: unknown key (did you mean optim.lr?)"]


def test_key_one_level_too_low_gets_its_place(tmp_path: Path) -> None:
    assert faults(tmp_path, LEAST + "optim: {seed: 1}\n") == [
        "optim.seed: unknown key (did you mean seed?)"
    ]


def test_key_like_no_other_lists_what_is_allowed_at_its_level(tmp_path: Path) -> None:
    assert faults(tmp_path, LEAST + "optim: {zzzzz: 1}\n") == [
        "optim.zzzzz: unknown key (allowed here: lr, max_grad_norm, reference_batch, "
        "warmup_steps, weight_decay)"
    ]


def test_unknown_key_below_an_optional_section_is_found(tmp_path: Path) -> None:
    assert faults(tmp_path, LEAST + "image: {heigth: 48}\n") == [
        "image.heigth: unknown key (did you mean image.height?)"
    ]


def test_unknown_key_in_an_override_is_found(tmp_path: Path) -> None:
    assert faults(tmp_path, LEAST, "amp.enable=false") == [
        "amp.enable: unknown key (did you mean amp.enabled?)"
    ]


def test_wrong_type_gives_key_expected_type_and_value(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, LEAST + "steps: many\n")
    assert re.fullmatch(r"steps: input should be a valid integer.*, got 'many'", fault)


def test_scalar_in_place_of_a_section_gives_key_and_value(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, LEAST + "optim: 3\n")
    assert re.fullmatch(r"optim: input should be a valid dictionary.*, got 3", fault)


def test_value_out_of_range_gives_the_limit_and_the_value(tmp_path: Path) -> None:
    assert faults(tmp_path, LEAST + "augment: {probability: 1.5}\n") == [
        "augment.probability: input should be less than or equal to 1, got 1.5"
    ]


def test_value_outside_a_choice_gives_the_choices(tmp_path: Path) -> None:
    assert faults(tmp_path, LEAST + "amp: {dtype: fp8}\n") == [
        "amp.dtype: input should be 'auto', 'float16' or 'bfloat16', got 'fp8'"
    ]


def test_infinite_number_is_refused(tmp_path: Path) -> None:
    assert faults(tmp_path, LEAST + "optim: {lr: .inf}\n") == [
        "optim.lr: input should be a finite number, got inf"
    ]


def test_values_that_do_not_fit_together_name_the_next_step(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, LEAST + "image: {max_width: 100}\n")
    assert re.match("image: .*max_width 100 is below min_width 320; raise max_width", fault)


def test_missing_key_must_be_given(tmp_path: Path) -> None:
    assert faults(tmp_path, "run_dir: b\n") == [
        "dataset: missing; this key has no default and must be given"
    ]


def test_element_of_a_list_is_named_by_its_number(tmp_path: Path) -> None:
    path = write(tmp_path, "out: a\nimages: b\ntrain_labels: [c, [d]]\n")
    with pytest.raises(ConfigError, match=r"train_labels\.1: .*path.*, got \['d'\]"):
        load_config(TypeAdapter(PrepareConfig), path)


def test_all_faults_are_in_one_message_each_with_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "run_dir: b\nlr: 1\nsteps: -1\noptim: {warmup: 3}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(TRAIN, path, ["batch=none"])
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    keys = sorted(line.removeprefix(f"{path}: ").split(":")[0] for line in lines)
    assert keys == ["batch", "dataset", "lr", "optim.warmup", "steps"]


def test_missing_file_is_named_with_the_next_step(tmp_path: Path) -> None:
    path = tmp_path / "absent.yaml"
    message = f"^{re.escape(str(path))}: cannot read this config file .*give the path of a YAML"
    with pytest.raises(ConfigError, match=message):
        load_config(TRAIN, path)


def test_key_given_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, LEAST + "steps: 1\nsteps: 2\n")
    with pytest.raises(ConfigError, match=r"(?s)config.yaml: .*key 'steps' is given twice.*line 4"):
        load_config(TRAIN, path)


def test_key_given_twice_in_a_section_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, LEAST + "optim:\n  lr: 1\n  lr: 2\n")
    with pytest.raises(ConfigError, match=r"(?s)key 'lr' is given twice.*line 5"):
        load_config(TRAIN, path)


def test_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)config\.yaml: not valid YAML: .*line 2"):
        load_config(TRAIN, write(tmp_path, "dataset: [\n"))


def test_file_that_is_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the file holds a list; it must hold `key: value` lines"):
        load_config(TRAIN, write(tmp_path, "- dataset\n"))


def test_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gbk.yaml"
    path.write_bytes("dataset: 数据\n".encode("gbk"))
    with pytest.raises(ConfigError, match=r"gbk\.yaml: not UTF-8 .*byte 9"):
        load_config(TRAIN, path)


def test_yaml_tags_build_no_objects(tmp_path: Path) -> None:
    path = write(tmp_path, "dataset: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        load_config(TRAIN, path)


def test_override_is_read_as_yaml(tmp_path: Path) -> None:
    overrides = ["optim.lr=3e-4", "amp.enabled=false", "image=null", "start=a=b"]
    config = load_config(TRAIN, write(tmp_path, LEAST + "image: {height: 32}\n"), overrides)
    assert config.optim.lr == 3e-4
    assert config.amp.enabled is False
    assert config.image is None
    assert config.start == "a=b"


def test_later_override_wins_over_earlier_and_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, LEAST + "steps: 1\n")
    assert load_config(TRAIN, path, ["steps=2", "steps=3"]).steps == 3


def test_override_keeps_the_other_keys_of_its_section(tmp_path: Path) -> None:
    path = write(tmp_path, LEAST + "optim: {lr: 0.5, warmup_steps: 7}\n")
    assert load_config(TRAIN, path, ["optim.lr=0.25"]).optim == OptimConfig(lr=0.25, warmup_steps=7)


def test_override_opens_a_section_that_is_absent_or_null(tmp_path: Path) -> None:
    absent = load_config(TRAIN, write(tmp_path, LEAST), ["image.height=32"])
    null = load_config(TRAIN, write(tmp_path, LEAST + "image: null\n"), ["image.height=32"])
    assert absent.image is not None
    assert absent.image.height == 32
    assert null == absent


@pytest.mark.parametrize("override", ["steps", "=3", "optim..lr=3", ".lr=3"])
def test_override_that_is_no_key_value_pair_is_refused(tmp_path: Path, override: str) -> None:
    message = f"override {override!r}: expected key=value, e.g. optim.lr=3e-4"
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(TRAIN, write(tmp_path, LEAST), [override])


def test_override_below_a_scalar_is_refused(tmp_path: Path) -> None:
    message = "override 'dataset.x=1': dataset is the value 'work/a', it has no keys below it"
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(TRAIN, write(tmp_path, LEAST), ["dataset.x=1"])


def test_override_with_broken_yaml_is_refused(tmp_path: Path) -> None:
    message = r"override 'optim\.lr=\[1': the value is not valid YAML"
    with pytest.raises(ConfigError, match=message):
        load_config(TRAIN, write(tmp_path, LEAST), ["optim.lr=[1"])


def test_dumped_config_loads_to_an_equal_one(tmp_path: Path) -> None:
    text = LEAST + "start: 模型/甲\nimage: {min_width: 192}\noptim: {lr: 1.0e-5}\n"
    config = load_config(TRAIN, write(tmp_path, text), ["augment.invert=true"])
    dumped = tmp_path / "dumped.yaml"
    dump_config(config, dumped)
    assert load_config(TRAIN, dumped) == config
    assert "模型/甲" in dumped.read_text(encoding="utf-8")


def test_dumped_member_of_a_union_loads_to_an_equal_one(tmp_path: Path) -> None:
    config = load_config(
        MODEL, write(tmp_path, "task: det\nsize: tiny\nimage: {mean: [0.1, 0.2, 0.3]}\n")
    )
    dumped = tmp_path / "dumped.yaml"
    dump_config(config, dumped)
    assert load_config(MODEL, dumped) == config


def test_tag_chooses_the_member_of_a_union(tmp_path: Path) -> None:
    det = load_config(MODEL, write(tmp_path, "task: det\nsize: tiny\n"))
    rec = load_config(MODEL, write(tmp_path, "task: rec\nsize: tiny\nclasses: 5\n"))
    assert det == DetModelSpec(size="tiny")
    assert rec == RecModelSpec(size="tiny", classes=5)


def test_keys_in_a_union_come_without_its_tag(tmp_path: Path) -> None:
    lines = model_faults(
        tmp_path, "task: rec\nsize: huge\nclasses: 2\nimage: {heigth: 1, min_width: x}\n"
    )
    assert sorted(line.split(":")[0] for line in lines) == [
        "classes",
        "image.heigth",
        "image.min_width",
        "size",
    ]
    sizes = "'tiny', 'small', 'medium', 'mobile' or 'resnet'"
    assert f"size: input should be {sizes}, got 'huge'" in lines
    assert "image.heigth: unknown key (did you mean image.height?)" in lines


def test_missing_key_of_a_union_member_comes_without_its_tag(tmp_path: Path) -> None:
    assert model_faults(tmp_path, "task: rec\nsize: tiny\n") == [
        "classes: missing; this key has no default and must be given"
    ]


def test_suggestion_in_a_union_is_of_the_chosen_member(tmp_path: Path) -> None:
    assert model_faults(tmp_path, "task: det\nsize: tiny\nimage: {min_width: 1}\n") == [
        "image.min_width: unknown key (did you mean image.min_side?)"
    ]


def test_unknown_tag_of_a_union_lists_the_allowed_ones(tmp_path: Path) -> None:
    (fault,) = model_faults(tmp_path, "task: ocr\nsize: tiny\n")
    assert "task: 'ocr'; allowed: " in fault
    assert "'ocr'" in fault
    assert "'det', 'rec'" in fault


@pytest.mark.parametrize("text", ["[1, 2]: 3", "? {a: 1}\n: 2"])
def test_a_key_that_is_no_word_is_a_config_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(TypeAdapter(RecTrainConfig), path)


def test_merge_keys_mean_what_they_mean_in_yaml(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "dataset: d\nrun_dir: r\noptim:\n  <<: {lr: 0.5, warmup_steps: 3}\n  lr: 0.25\n"
    )
    config = load_config(TypeAdapter(RecTrainConfig), path)
    assert (config.optim.lr, config.optim.warmup_steps) == (0.25, 3)


def test_suggestions_of_a_union_come_from_the_chosen_member(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("task: rec\nsize: tiny\nclasses: 5\nthreshold: 0.5\n")
    with pytest.raises(ConfigError) as caught:
        load_config(TypeAdapter(ModelSpec), path)
    assert "decode.threshold" not in str(caught.value)
    assert "threshold: unknown key" in str(caught.value)


def from_environment(*words: str, **variables: str) -> ServeConfig:
    schema = TypeAdapter(ServeConfig)
    return load_config(schema, None, [*overrides_from(variables, "OCR_SERVE", schema), *words])


def test_the_environment_sets_keys_and_the_command_line_has_the_last_word() -> None:
    config = from_environment(
        "port=1",
        OCR_SERVE__PORT="2",
        OCR_SERVE__ENGINE__THREADS="3",
        OCR_SERVE__ACCESS__RATE__PER_MINUTE="30",
        OCR_SERVE__ACCESS__CORS_ORIGINS='["https://a.example"]',
        OCR_SERVE__ACCESS__KEYS_FILE="/run/keys=1",
        OCR_SERVER__PORT="x",
        PATH="/bin",
    )
    assert (config.port, config.engine.threads) == (1, 3)
    assert config.access.rate is not None
    assert config.access.rate.per_minute == 30
    assert config.access.cors_origins == ("https://a.example",)
    assert config.access.keys_file == "/run/keys=1"


def test_the_environment_has_a_later_word_than_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "port: 1\nworkers: 2\n")
    schema = TypeAdapter(ServeConfig)
    words = overrides_from({"OCR_SERVE__PORT": "3"}, "OCR_SERVE", schema)
    config = load_config(schema, path, words)
    assert (config.port, config.workers) == (3, 2)


def test_unknown_variables_are_named_together_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        from_environment(OCR_SERVE__PROT="1", OCR_SERVE__ENGINE_THREADS="2", OCR_SERVE__XYZQQ="3")
    assert str(caught.value).splitlines() == [
        "environment: OCR_SERVE__PROT: unknown key (did you mean OCR_SERVE__PORT?)",
        "environment: OCR_SERVE__ENGINE_THREADS: unknown key "
        "(did you mean OCR_SERVE__ENGINE__THREADS?)",
        "environment: OCR_SERVE__XYZQQ: unknown key",
    ]


def test_a_bad_value_of_the_environment_is_told_by_its_key() -> None:
    with pytest.raises(ConfigError, match="engine.threads: input should be a valid integer"):
        from_environment(OCR_SERVE__ENGINE__THREADS="many")
