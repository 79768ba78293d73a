"""The encoders: contract on each, exactness, choice, export, and start without torch."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.encoders import export, verify
from connectors.encoders import report as reports
from connectors.encoders.batches import plan
from connectors.encoders.export import Order, make
from connectors.encoders.openvino import OpenVinoEncoder
from connectors.encoders.report import MIN_COSINE, Measured, Report, choose
from connectors.encoders.select import export_folder, open_encoder, prepare
from connectors.encoders.sentence_transformer import SentenceTransformerEncoder
from connectors.encoders.weights import Weights, resolve
from connectors.errors import Permanent
from connectors.memory.encoder import HashingEncoder
from connectors.ports import Encoder
from runtime.settings import Encoder as EncoderSettings
from runtime.settings import Settings
from tests.connectors.contract.encoder_contract import EncoderContract

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def settings() -> EncoderSettings:
    """The default model, and the export that set-up made."""
    return EncoderSettings(export_dir=Settings.from_env().encoder.export_dir)


@pytest.fixture(scope="session")
def prepared(settings: EncoderSettings) -> EncoderSettings:
    """Settings whose export is there."""
    prepare(settings)
    return settings


def opened(settings: EncoderSettings, backend: str) -> Iterator[Encoder]:
    encoder = asyncio.run(open_encoder(settings.model_copy(update={"backend": backend})))
    assert isinstance(encoder, OpenVinoEncoder | SentenceTransformerEncoder)
    yield encoder
    asyncio.run(encoder.close())


@pytest.fixture(scope="session")
def light(prepared: EncoderSettings) -> Iterator[Encoder]:
    """OpenVINO in the precision that this machine can do."""
    yield from opened(prepared, "openvino-bf16" if reports.has_bf16(reports.machine()) else "openvino-fp32")


@pytest.fixture(scope="session")
def exact(prepared: EncoderSettings) -> Iterator[Encoder]:
    """Torch in fp32: what the others are measured by."""
    yield from opened(prepared, "torch-fp32")


class TestHashing(EncoderContract):
    """The shipped fake."""

    @pytest.fixture
    def encoder(self) -> Encoder:
        return HashingEncoder()


class TestOpenVino(EncoderContract):
    """The light adapter."""

    tolerance = 5e-3  # bf16; coordinates of MiniLM are about 0.05, cosines between the two stay above 0.9999

    @pytest.fixture
    def encoder(self, light: Encoder) -> Encoder:
        return light


class TestTorch(EncoderContract):
    """Sentence-transformers in fp32."""

    @pytest.fixture
    def encoder(self, exact: Encoder) -> Encoder:
        return exact


async def test_light_adapter_is_as_exact_as_promised(light: Encoder, exact: Encoder) -> None:
    """Every sample's cosine to fp32, languages, empty and truncated texts included, is at least 0.999."""
    texts = verify.samples()
    cosines = (await light.encode(texts) * await exact.encode(texts)).sum(axis=1)
    assert cosines.min() >= MIN_COSINE
    assert light.model == exact.model


async def test_questions_that_come_together_get_what_each_gets_alone(light: Encoder, exact: Encoder) -> None:
    """Long and short, in any order, share passes; each gets its own vector, as exact as alone."""
    texts = verify.samples()
    found = np.concatenate(await asyncio.gather(*(light.encode([text]) for text in texts)))
    assert (found * await exact.encode(texts)).sum(axis=1).min() >= MIN_COSINE


async def test_text_is_cut_at_the_window(light: Encoder) -> None:
    """What stands past the window has no influence, what stands before it has."""
    start = " ".join(f"word{n}" for n in range(200))
    vectors = await light.encode([start, start + " and a tail that nobody reads", "and a head " + start])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=TestOpenVino.tolerance)
    assert np.abs(vectors[0] - vectors[2]).max() > TestOpenVino.tolerance


async def test_few_tokens_in_many_characters_are_all_read(light: Encoder, exact: Encoder) -> None:
    """Looking at the start of a long text first loses nothing where that start holds few tokens."""
    text = "broker" + " " * 40_000 + "partition"
    cosine = (await light.encode([text]) * await exact.encode([text])).sum()
    assert cosine >= MIN_COSINE


async def test_ten_thousand_texts(light: Encoder) -> None:
    """A long list comes back whole and in order."""
    vectors = await light.encode([f"{n % 10}" for n in range(10_000)])
    assert vectors.shape == (10_000, light.dimension)
    np.testing.assert_allclose(vectors[:10], vectors[-10:], atol=TestOpenVino.tolerance)
    assert np.abs(vectors[0] - vectors[1]).max() > TestOpenVino.tolerance


def test_second_start_does_without_torch(prepared: EncoderSettings) -> None:
    """A process that finds the export runs OpenVINO and never imports torch or its company."""
    program = (
        "import asyncio, json, sys\n"
        "from connectors.encoders.select import open_encoder\n"
        "from runtime.settings import Encoder\n"
        "settings = Encoder.model_validate_json(sys.argv[1])\n"
        "async def main():\n"
        "    encoder = await open_encoder(settings)\n"
        "    vectors = await encoder.encode(['how fresh is it?'])\n"
        "    heavy = {'torch', 'sentence_transformers', 'transformers', 'optimum'} & set(sys.modules)\n"
        "    print(json.dumps([vectors.shape, sorted(heavy)]))\n"
        "asyncio.run(main())\n"
    )
    light = prepared.model_copy(update={"backend": "openvino-fp32"})
    command = [sys.executable, "-c", program, light.model_dump_json()]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[1, 384], []]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights with cls pooling, as a user's own folder would be."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    base, folder = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(7)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = AutoConfig.for_model("bert", vocab_size=30522, initializer_range=0.2, **shape)
    AutoModel.from_config(config).save_pretrained(base)  # type: ignore[no-untyped-call]
    AutoTokenizer.from_pretrained(resolve("all-MiniLM-L6-v2").folder).save_pretrained(base)
    transformer = Transformer(str(base), max_seq_length=48)
    SentenceTransformer(modules=[transformer, Pooling(32, pooling_mode="cls")]).save(str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_export(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> EncoderSettings:
    """The tiny model, exported by the process that does it for everyone."""
    settings = EncoderSettings(model=str(tiny), backend="openvino-fp32", export_dir=tmp_path_factory.mktemp("exports"))
    steps: list[str] = []
    prepare(settings, steps.append)
    assert any("exporting" in step for step in steps)
    return settings


@pytest.fixture
def order(tiny: Path, tiny_export: EncoderSettings) -> Order:
    """What `prepare` asks of its child, to be carried out in this process."""
    return Order(str(tiny), str(export_folder(tiny_export, resolve(str(tiny)))))


async def test_model_by_path_with_cls_pooling(tiny: Path, tiny_export: EncoderSettings) -> None:
    """A user's folder runs on the light adapter and agrees with sentence-transformers."""
    light = await open_encoder(tiny_export)
    exact = SentenceTransformerEncoder(resolve(str(tiny)), "torch-fp32")
    texts = verify.samples()
    assert isinstance(light, OpenVinoEncoder)
    assert (await light.encode(texts) * exact.encode_now(texts)).sum(axis=1).min() >= MIN_COSINE
    assert light.model == exact.model
    assert light.model.startswith("tiny@")
    await light.close()


def _silent(step: str) -> None:
    """Progress that nobody reads."""


def _count_exports(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders that were exported into."""
    made: list[Path] = []
    real: Callable[[Path, Weights], Report] = export._export

    def counting(part: Path, weights: Weights) -> Report:
        made.append(part)
        return real(part, weights)

    monkeypatch.setattr(export, "_export", counting)
    return made


@pytest.mark.parametrize("harm", ["graph", "report", "all"])
def test_half_an_export_is_none(order: Order, tmp_path: Path, harm: str) -> None:
    """A cut file, a broken report and a missing folder all count as no export."""
    folder = tmp_path / "copy"
    shutil.copytree(order.folder, folder)
    assert reports.read(folder) is not None
    if harm == "graph":
        os.truncate(folder / reports.GRAPH_WEIGHTS, 100)
    elif harm == "report":
        (folder / reports.REPORT).write_text("{")
    else:
        shutil.rmtree(folder)
    assert reports.read(folder) is None


def test_half_made_export_is_healed(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made anew, once, and what a killed export left beside it is swept."""
    folder, made = Path(order.folder), _count_exports(monkeypatch)
    folder.with_name(f"{folder.name}.1.part").mkdir()
    os.truncate(folder / reports.GRAPH_WEIGHTS, 100)
    report = make(order, _silent)
    assert reports.read(folder) == report
    assert len(made) == 1
    assert list(folder.parent.glob("*.part")) == []


def test_two_at_once_export_once(order: Order, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of two that begin together one exports, the other waits and finds it."""
    known = make(order, _silent)
    made: list[Path] = []
    found: list[Report] = []

    def slow(part: Path, weights: Weights) -> Report:
        made.append(part)
        time.sleep(0.3)
        return msgspec.structs.replace(known, files={})

    monkeypatch.setattr(export, "_export", slow)
    monkeypatch.setattr(export, "measure", lambda *_: known.backends)
    elsewhere = msgspec.structs.replace(order, folder=str(tmp_path / "export"))
    threads = [threading.Thread(target=lambda: found.append(make(elsewhere, _silent))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert found[0] == found[1]


def test_other_machine_is_measured_anew(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export from a machine with other CPU features is kept, its measurements are not."""
    made, folder = _count_exports(monkeypatch), Path(order.folder)
    known = make(order, _silent)
    reports.write(folder, msgspec.structs.replace(known, machine=["vax"], backends={}, chosen="torch-bf16"))
    fresh = make(order, _silent)
    assert made == []
    assert fresh.machine == reports.machine()
    assert fresh.backends.keys() == known.backends.keys()


def test_model_with_more_modules_stays_on_torch(tiny: Path, tmp_path: Path) -> None:
    """A Dense layer is beyond the light adapter: the report says so, and torch is chosen."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    network = SentenceTransformer(str(tiny), device="cpu")
    network.append(Dense(32, 16))
    network.save(str(tmp_path / "dense"))
    report = make(Order(str(tmp_path / "dense"), str(tmp_path / "exports" / "dense")), _silent)
    assert "Dense" in (report.refused or "")
    assert report.chosen.startswith("torch")
    assert report.dimension == 16
    assert not any(name.startswith("openvino") for name in report.backends)


def test_choice_is_the_fastest_that_is_exact() -> None:
    """Speed never buys a backend below 0.999, and CUDA goes before all that are exact."""
    measured = {"torch-fp32": Measured(1.0, 20.0), "openvino-bf16": Measured(0.9995, 55.0)}
    assert choose(measured) == "openvino-bf16"
    assert choose(measured | {"torch-bf16": Measured(0.998, 90.0)}) == "openvino-bf16"
    assert choose(measured | {"cuda-fp16": Measured(0.9999, 30.0)}) == "cuda-fp16"
    assert choose(measured | {"cuda-fp16": Measured(0.99, 3000.0)}) == "openvino-bf16"
    cuda = {"cuda-fp16": Measured(0.9999, 94.0), "cuda-bf16": Measured(0.9992, 100.0), "cuda-tf32": Measured(1.0, 60.0)}
    assert choose(measured | cuda) == "cuda-fp16", "what is alike in speed goes by exactness"
    assert choose(measured | cuda | {"cuda-fp16": Measured(0.9, 98.0), "cuda-bf16": Measured(0.9, 1e3)}) == "cuda-tf32"


def test_model_id_follows_what_shapes_vectors(tmp_path: Path) -> None:
    """Weights and pooling change the id; a read-me and another runtime's files do not."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = resolve(str(tmp_path)).model_id
    (tmp_path / "README.md").write_text("about")
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.bin").write_bytes(b"more")
    assert resolve(str(tmp_path)).model_id == before
    (tmp_path / "model.safetensors").write_bytes(b"weightS")
    assert resolve(str(tmp_path)).model_id != before


@pytest.mark.parametrize(
    ("model", "says"),
    [("./nowhere", "is not a folder"), (".", "holds no model"), ("some-owner/no-such-model", "hf download")],
)
def test_model_that_is_not_there(model: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error says what to do, at once, and that trying again is no use."""
    import huggingface_hub

    def away(*_: object, **__: object) -> str:
        raise ConnectionError("hub is out of reach")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", away)
    with pytest.raises(Permanent, match=says):
        resolve(model)


@given(st.lists(st.integers(1, 256), max_size=200), st.integers(256, 4096))
def test_passes_hold_every_text_once_within_the_budget(lengths: list[int], budget: int) -> None:
    """No text is lost or doubled, and padding counts."""
    passes = plan(lengths, budget)
    assert sorted(position for positions in passes for position in positions) == list(range(len(lengths)))
    for positions in passes:
        assert len(positions) * max(lengths[position] for position in positions) <= budget
