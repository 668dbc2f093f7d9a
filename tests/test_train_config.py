"""The config of a run: every key checked, errors name it. pytest tests/test_train_config.py"""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs torch")
yaml = pytest.importorskip("yaml", reason="training needs pyyaml")

from edgecolor.errors import ConfigError  # noqa: E402
from edgecolor.train.config import load_config, to_yaml  # noqa: E402

CONFIGS = sorted((Path(__file__).resolve().parent.parent / "train" / "configs").glob("*.yaml"))


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(
        "phases:\n- {steps: 10, crop: 64, batch: 4}\n- {steps: 5, crop: 96, batch: 2}\n"
        "losses:\n- {kind: tokens, uniform: 0.8}\noptim: {lr: 1e-3}\n"
    )
    return path


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_every_config_in_the_repository_is_valid(config):
    assert load_config(config).total_steps > 0


def test_the_resolved_config_reads_back_as_itself(path):
    config = load_config(path, ["seed=7"])
    path.write_text(to_yaml(config))
    assert load_config(path) == config and config.seed == 7 and config.total_steps == 15


def test_overrides_reach_into_mappings_and_lists(path):
    config = load_config(path, ["optim.lr=2e-3", "losses.0.uniform=0.5", "phases.1.batch=8", "degrade.grain=0.5"])
    assert config.optim.lr == 2e-3 and config.losses[0].uniform == 0.5
    assert config.phases[1].batch == 8 and config.degrade.grain == 0.5


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optim.lrr=1", ["optim.lrr", "lr"]),
        ("degrade.grian=1", ["degrade.grian", "grain"]),
        ("optim.lr=fast", ["optim.lr", "fast"]),
        ("optim.lr=.nan", ["optim.lr", "finite"]),
        ("seed=true", ["seed", "int", "True"]),
        ("phases.0.crop=100", ["phases[0].crop", "32", "100"]),
        ("phases=[]", ["phases"]),
        ("losses=[{kind: gan}]", ["losses[0].kind", "gan"]),
        ("losses=[{weight: 1}]", ["losses[0]", "kind"]),
        ("losses=[{kind: distill}]", ["losses[0].teacher"]),
        ("losses.3.kind=l1", ["losses.3.kind", "list of 1"]),
        ("data.sources=[{path: x, kind: shrads}]", ["data.sources[0].kind", "shards"]),
        ("data.sources=photos", ["data.sources", "list"]),
        ("data.zoom=[1, 0.5]", ["data.zoom[0]", "0.5"]),
        ("data.weights={osie: -1}", ["data.weights.osie", "-1"]),
        ("degrade.blur=1.5", ["degrade.blur", "1.5"]),
        ("optim.accumulate=3", ["batch 4", "accumulate=3"]),
        ("optim.schedule=cosin", ["optim.schedule", "cosine"]),
        ("precision=fp8", ["precision", "fp8"]),
        ("seed", ["seed", "key=value"]),
        ("optim.lr=[", ["optim.lr", "YAML"]),
    ],
)
def test_a_bad_value_is_refused_with_the_name_of_its_key(path, override, words):
    with pytest.raises(ConfigError) as caught:
        load_config(path, [override])
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1,\n", b"\xff\xfe\x00".decode("latin-1")])
def test_a_file_that_is_no_config_is_refused(tmp_path, text):
    (tmp_path / "bad.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_config(tmp_path / "bad.yaml")


def test_a_missing_config_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such config"):
        load_config(tmp_path / "none.yaml")
