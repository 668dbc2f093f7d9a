"""Published weights: recognised by their tensors, loaded whole or not at all, and never run."""

import os
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from zoo import TWINS, busy, on_meta  # noqa: E402

from edgecolor.backends import open_backend  # noqa: E402
from edgecolor.cli import main  # noqa: E402
from edgecolor.color.tokens import palette  # noqa: E402
from edgecolor.errors import ConfigError, ModelError  # noqa: E402
from edgecolor.export import import_weights as importing  # noqa: E402
from edgecolor.export.softmax_scale import SCALES, cross_entropies, temperature_by_photographs  # noqa: E402
from edgecolor.models import MODELS  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Files of a hundredth of the published size: the same names, narrower layers."""
    for name in importing.IMPORTABLE:
        monkeypatch.setitem(MODELS, name, TWINS[name])


def weights_of(name: str) -> dict:
    return dict(busy(TWINS[name]()).state_dict())


def saved(path, state, **options):
    torch.save(state, path, **options)
    return path


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


@pytest.mark.parametrize("name", importing.IMPORTABLE)
@pytest.mark.parametrize("change", ["plain", "wrapped", "parallel", "old", "half"])
def test_a_file_is_recognised_by_its_tensors_however_it_was_saved(name, change, tmp_path):
    expected = weights_of(name)
    state, options = dict(expected), {}
    if change == "wrapped":
        state = {"state_dict": state, "epoch": 3}
    elif change == "parallel":
        state = {f"module.{key}": value for key, value in state.items()}
    elif change == "old":
        state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
        options = {"_use_new_zipfile_serialization": False}
    elif change == "half":
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    path = saved(tmp_path / "some.pth", state, **options)
    read = importing.read_pth(path)
    assert importing.recognise(read, path) == name
    model = TWINS[name]()
    importing.load_into(model, read, path)
    for key, value in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, expected[key], rtol=0, atol=0 if change != "half" else 2e-3)


def test_the_full_size_layouts_are_told_apart_by_their_shapes(monkeypatch, tmp_path):
    monkeypatch.undo()
    state = {key: torch.empty(value.shape, device="meta") for key, value in on_meta("eccv16").state_dict().items()}
    assert importing.recognise(state, tmp_path / "x.pth") == "eccv16"
    monkeypatch.setitem(MODELS, "eccv16", TWINS["eccv16"])
    with pytest.raises(ModelError, match="instead of"):
        importing.recognise(state, tmp_path / "x.pth")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda s: s.pop("model3.2.weight"), r"not a whole eccv16: it lacks model3.2.weight\. Weights are not loaded"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("model8")], r"it lacks model8.0.weight, .* and 5 more"),
        (lambda s: s.update(extra=torch.zeros(1)), "it has the unknown extra"),
        (
            lambda s: s.update({"model1.0.weight": torch.zeros(8, 3, 3, 3)}),
            r"of \[8, 3, 3, 3\] instead of \[8, 1, 3, 3\]",
        ),
        (lambda s: s["model1.0.bias"].fill_(float("nan")), "model1.0.bias holds values that are no numbers"),
        (lambda s: s.update({"epoch": 3}), "holds no dictionary of tensors by name"),
        (lambda s: [s.clear(), s.update({"features.0.weight": torch.zeros(3)})], "none of the networks known here"),
        (lambda s: s.clear(), "holds no dictionary of tensors"),
    ],
)
def test_a_file_that_is_not_whole_or_another_is_refused_in_one_line(change, words, tmp_path, capsys):
    state = weights_of("eccv16")
    change(state)
    path = saved(tmp_path / "eccv16.pth", state)
    with pytest.raises(ModelError, match=words) as raised:
        importing.import_weights(path)
    assert "\n" not in str(raised.value)
    assert run("import-weights", path) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["eccv16.pth"]


class RunsCode:
    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("pickled", [False, True])
def test_code_in_a_file_is_not_run(tmp_path, capsys, pickled):
    path, proof = tmp_path / "evil.pth", tmp_path / "it-ran"
    if pickled:
        path.write_bytes(pickle.dumps({"model1.0.weight": RunsCode(proof)}, protocol=2))
    else:
        torch.save({"model1.0.weight": RunsCode(proof)}, path)
    assert run("import-weights", path) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "evil.pth" in error
    assert ("Python objects" in error) or pickled
    assert not proof.exists()


@pytest.mark.parametrize("new_format", [True, False])
def test_a_truncated_or_changed_file_is_noticed(tmp_path, new_format):
    path = saved(tmp_path / "a.pth", weights_of("siggraph17"), _use_new_zipfile_serialization=new_format)
    data = path.read_bytes()
    for share in (0, 0.001, 0.3, 0.999):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ModelError, match="get it again"):
            importing.import_weights(path)
    if new_format:  # the old one has no checksums
        changed = bytearray(data)
        changed[len(data) // 2] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ModelError, match="checksum"):
            importing.import_weights(path)


def test_a_published_files_name_holds_it_to_its_checksum(tmp_path):
    path = saved(tmp_path / "siggraph17-df00044c.pth", weights_of("siggraph17"))
    with pytest.raises(ModelError, match="its name says df00044c"):
        importing.import_weights(path)


def test_a_wrong_model_a_wrong_name_and_wrong_options_are_refused(tmp_path):
    path = saved(tmp_path / "a.pth", weights_of("siggraph17"))
    with pytest.raises(ModelError, match="holds siggraph17, not eccv16"):
        importing.import_weights(path, model="eccv16")
    with pytest.raises(ConfigError, match="did you mean eccv16"):
        importing.import_weights(path, model="eccv61")
    with pytest.raises(ConfigError, match="no published weights are laid out as edge"):
        importing.import_weights(path, model="edge")
    with pytest.raises(ConfigError, match="about color tokens"):
        importing.import_weights(path, temperature=0.5)
    with pytest.raises(ModelError, match="there is no file"):
        importing.import_weights(tmp_path / "absent.pth")
    eccv16 = saved(tmp_path / "e.pth", weights_of("eccv16"))
    with pytest.raises(ConfigError, match="choose one"):
        importing.import_weights(eccv16, temperature=0.5, photos=tmp_path)
    with pytest.raises(ConfigError, match="holds no picture"):
        importing.import_weights(eccv16, photos=tmp_path)


def test_an_imported_file_colors_as_the_network_that_it_is_of(tmp_path, capsys):
    state = weights_of("eccv16")
    path = saved(tmp_path / "colorization.pth", state)
    assert run("import-weights", path, tmp_path / "out", "--license", "BSD-2-Clause") == 0
    assert "temperature 1: not measured: a plain softmax" in capsys.readouterr().out
    backend = open_backend(tmp_path / "out" / "eccv16.onnx", threads=1)
    assert (backend.manifest.temperature, backend.manifest.license) == (1.0, "BSD-2-Clause")
    model = TWINS["eccv16"]()
    model.load_state_dict(state)
    lightness = torch.rand(1, 1, 32, 40, generator=torch.Generator().manual_seed(0)) * 100
    with torch.no_grad():  # as the authors' code goes on: softmax, the last convolution, times 110
        logits = model.eval()(lightness)[0].permute(0, 3, 1, 2)
        expected = model.model_out(logits.softmax(dim=1)) * 110
    backend.start(1, 32, 40)
    np.testing.assert_allclose(backend.step(lightness.numpy(), 0.0), expected.numpy(), rtol=0, atol=0.1)


@pytest.mark.parametrize("name", importing.IMPORTABLE)
def test_what_was_imported_opens_and_training_starts_from_the_file(name, tmp_path, capsys):
    from edgecolor.train.config import TrainConfig
    from edgecolor.train.prepare import prepare_model

    state = weights_of(name)
    first = next(key for key, value in state.items() if value.ndim == 4)
    path = saved(tmp_path / "theirs.pth", state)
    assert run("import-weights", path, tmp_path / "out") == 0
    assert open_backend(tmp_path / "out" / f"{name}.onnx", threads=1).manifest.name == name
    model = prepare_model(TrainConfig(model=name, init=str(path)))
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    model = prepare_model(TrainConfig(model=name, init=str(tmp_path / "out" / f"{name}.safetensors")))
    assert torch.equal(model.state_dict()[first], state[first].half().float())
    state[first] = state[first][:2]
    with pytest.raises(ModelError, match=rf"init: .*theirs.pth does not fit .*{first} of \[2,"):
        prepare_model(TrainConfig(model=name, init=str(saved(path, state))))


def test_a_safetensors_file_that_is_cut_off_is_refused_in_one_line(tmp_path, capsys):
    from safetensors.torch import save

    (tmp_path / "cut.safetensors").write_bytes(save(weights_of("eccv16"))[:100])
    assert run("import-weights", tmp_path / "cut.safetensors") == 2
    assert "is not a whole .pth file" in capsys.readouterr().err


def test_bin_centers_that_are_not_the_palettes_are_told():
    model = TWINS["eccv16"]()
    assert importing.bin_note(model) == []
    with torch.no_grad():
        model.model_out.weight.copy_(model.model_out.weight.flip(1))
    assert "ab units off those of the palette" in importing.bin_note(model)[0]


@pytest.mark.parametrize("factor", [1.0, 1 / 0.38])
def test_the_factor_on_calibrated_logits_is_found(factor):
    """Colors are drawn from known distributions; their logits, times a factor, are explained best by its inverse."""
    rng = np.random.default_rng(0)
    log_probs = torch.from_numpy(rng.normal(0, 2, (4000, 313))).log_softmax(dim=-1)
    tokens = torch.multinomial(log_probs.exp(), 1, generator=torch.Generator().manual_seed(0))
    entropies = cross_entropies([(log_probs * factor, tokens, torch.ones_like(tokens, dtype=torch.float64))])
    assert SCALES[entropies.argmin()] == pytest.approx(1 / factor, rel=0.1)


class Knows(torch.nn.Module):
    """Says, as confidently as `factor` has it, the colors of one picture whose left half is orange, the right blue."""

    stride, multiple = 4, 8

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, lightness):
        n, _, h0, w0 = lightness.shape
        centers = torch.from_numpy(palette("ab313").centers.copy())
        ab = torch.tensor([[30.0, 60], [10, -50]]).repeat_interleave(w0 // 8, 0).expand(n, h0 // 4, w0 // 4, 2)
        distance = ((ab[..., None, :] - centers) ** 2).sum(dim=-1)
        return -distance / 400 * self.factor, ab


@pytest.mark.parametrize("factor, expected", [(1.0, 0.38), (1 / 0.38, 1.0)])
def test_photographs_tell_whether_the_temperature_is_in_the_weights(factor, expected, tmp_path):
    import cv2

    from edgecolor.color.lab import lab_to_srgb

    rng = np.random.default_rng(0)
    for i in range(2):  # colors scattered about what the network says, as widely as it says at a factor of 1
        lab = np.full((64, 64, 3), 60, np.float32)
        lab[..., 1:] = np.where(np.arange(64)[:, None] < 32, [30, 60], [10, -50])
        lab[..., 1:] += np.kron(rng.normal(0, 14, (16, 16, 2)), np.ones((4, 4, 1)))
        cv2.imwrite(str(tmp_path / f"{i}.png"), (lab_to_srgb(lab).clip(0, 1) * 255).round()[..., ::-1])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    colors = palette("ab313")
    found, evidence = temperature_by_photographs(Knows(factor), colors, tmp_path, short_side=64)
    assert found == expected and "measured on 2 photographs" in evidence
    undecided, evidence = temperature_by_photographs(Knows(1e-6), colors, tmp_path, short_side=64)
    assert undecided == 1.0 and "undecided" in evidence


def test_what_is_no_pth_file_is_said_in_words_and_not_in_bytes_of_it(tmp_path):
    (tmp_path / "junk.pth").write_bytes(b"junk" * 50)
    with pytest.raises(ModelError, match=r"not a whole .pth file \(its structure is broken\)"):
        importing.read_pth(tmp_path / "junk.pth")
