"""The training loop: one config in, checkpoints and an EMA of the weights out; resumes exactly where it stopped."""

import logging
import signal
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgecolor.color.tokens import palette
from edgecolor.errors import ConfigError, EdgeColorError, ModelError
from edgecolor.models import kind_of
from edgecolor.train.checkpoint import check_fits, load_checkpoint, save_checkpoint
from edgecolor.train.code_loss import code_inputs
from edgecolor.train.config import Phase, TrainConfig, to_plain
from edgecolor.train.dataset import Batch, Photographs, prefetch
from edgecolor.train.degrade import Degrade
from edgecolor.train.device_data import DeviceCrops
from edgecolor.train.distributed import join_processes
from edgecolor.train.hints import inputs_of
from edgecolor.train.losses import build_losses
from edgecolor.train.optim import WeightEma, build_optimizer, load_optimizer, rate_at
from edgecolor.train.prediction import Prediction, centers_of, predictions_of
from edgecolor.train.prepare import prepare_model
from edgecolor.train.preview import sample_sheet
from edgecolor.train.prior import read_prior, token_prior
from edgecolor.train.training_log import TrainingLog

log = logging.getLogger(__name__)

NON_FINITE_FILE = "non-finite-batch.pt"
SAMPLE_STREAM = 2_000_003  # seed of the crops that TensorBoard shows, apart from those trained on


class TrainingError(EdgeColorError, RuntimeError):
    """The run cannot go on."""


def computes_bf16(device: torch.device) -> bool:
    """Whether bf16 is native there; emulated, it is three times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class Trainer:
    """One run in one folder.

    config  of the run
    folder  for checkpoint.pt, log.jsonl and events
    device  cpu or cuda
    resume  take up the folder's checkpoint, if there is one
    quiet   no progress bar
    raises  ConfigError, ModelError (a checkpoint that is damaged or of another model), MissingDependencyError
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        device: str | torch.device = "cpu",
        resume: bool = False,
        quiet: bool = False,
    ):
        self.config, self.folder, self.device, self.quiet = config, folder, torch.device(device), quiet
        self.processes = join_processes(self.device)
        self.processes.check_batches(config)
        torch.manual_seed(config.seed)
        self.model = prepare_model(config)
        state = self._read_checkpoint() if resume and self.checkpoint.exists() else {}
        self.centers = centers_of(self.model)
        degrade = Degrade(config.degrade) if config.degrade.any else None
        self.photographs = Photographs(config.data, config.needs_pairs, degrade)
        self.crops = self._place_crops()
        self.prior = state["prior"] if "prior" in state else self._find_prior()
        self.losses = build_losses(config.losses, self.model, self.prior).to(self.device)
        if self.prior is not None and hasattr(self.model, "token_bias") and not config.init:
            with torch.no_grad():
                self.model.token_bias.copy_(self.prior.log())
        self.model.to(self.device, memory_format=torch.channels_last).train()
        if self.centers is not None:
            self.centers = self.centers.to(self.device)
        self.optimizer = build_optimizer(self.model, config.optim)
        self.ema = WeightEma(self.model, config.optim.ema_halflife)
        self.net = self._wrap()
        self.step = 0
        self._choose_precision()
        if state:
            self._take_up(state)

    def _place_crops(self) -> Photographs | DeviceCrops:
        on = self.config.data.on
        if on == "auto":
            fits = not (self.config.degrade.any or self.config.needs_pairs)
            on = "device" if self.device.type == "cuda" and fits else "memory"
        if on == "device" and self.config.needs_pairs:
            raise ConfigError("data.on=device cuts single pictures only: a temporal loss needs data.on=memory")
        return DeviceCrops(self.photographs, self.device) if on == "device" else self.photographs

    def _find_prior(self) -> Tensor | None:
        if self.centers is None:
            return None
        colors = palette(self.model.config.palette)
        if self.config.prior:
            return torch.from_numpy(read_prior(self.config.prior, colors))
        return torch.from_numpy(token_prior(self.photographs, colors, self.config.prior_crops, self.config.seed))

    def _wrap(self) -> nn.Module:
        net = self.model
        if self.processes.world > 1:
            if self.device.type == "cuda":
                net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
            net = nn.parallel.DistributedDataParallel(
                net, device_ids=[self.device.index] if self.device.type == "cuda" else None
            )
        return torch.compile(net) if self.config.compile else net

    def _choose_precision(self) -> None:
        precision = self.config.precision
        if precision == "auto":
            precision = "bf16" if computes_bf16(self.device) else "fp32"
        log.info("computing in %s on %s", precision, self.device)
        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
        self.autocast = torch.autocast(self.device.type, kinds[precision]) if precision in kinds else nullcontext()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        if not self.processes.first:
            return
        state = {
            "config": to_plain(self.config),
            "step": self.step,
            "model": self.model.state_dict(),
            "ema": self.ema.state,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        if self.prior is not None:
            state["prior"] = self.prior
        save_checkpoint(self.checkpoint, state)

    def _read_checkpoint(self) -> dict:
        state = load_checkpoint(self.checkpoint)
        check_fits(state, self.config.model, self.model, self.checkpoint)
        step, total = state["step"], self.config.total_steps
        if step > total:
            raise ConfigError(f"{self.checkpoint} is at step {step}, past the config's {total}: raise phases.steps")
        return state

    def _take_up(self, state: dict) -> None:
        kind, today = state["config"].get("optim", {}).get("kind", "adamw"), self.config.optim.kind
        if kind != today:
            raise ModelError(f"{self.checkpoint} was trained by {kind}, optim.kind says {today}: resume with {kind}")
        self.model.load_state_dict(state["model"])
        self.ema.load(state["ema"])
        try:
            load_optimizer(self.optimizer, state["optimizer"])
        except ValueError as error:
            raise ModelError(f"{self.checkpoint}: its optimizer is not that of the config ({error})") from error
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]

    def phase_at(self, step: int) -> Phase:
        for phase in self.config.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        raise ValueError(f"step is past the last phase by {step}")

    def batch_at(self, step: int) -> Batch:
        """This process's part of a step's batch. The whole depends on the seed and the step alone, so a resumed run
        sees what it would have seen, and any number of processes see together what one alone would."""
        phase = self.phase_at(step)
        part = self.processes.part_of(phase.batch)
        return self.crops.batch((self.config.seed, step), phase.crop, phase.batch, part, self.model.stride)

    def predict(self, batch: Batch) -> tuple[Prediction, Prediction | None]:
        """What the network says of the batch's pictures and of the frames before them, in one pass."""
        if kind_of(self.model) == "codes":
            with self.autocast:
                return self.net(*code_inputs(batch)), None
        paired = batch.previous is not None
        with self.autocast:
            output = self.net(*inputs_of(batch, self.model))
        return predictions_of(output, self.model, self.centers, paired)

    def backward(self, batch: Batch) -> dict[str, float]:
        """Add the gradients of a batch, cut into the config's parts; its losses."""
        parts = self.config.optim.accumulate
        sums: dict[str, float] = {}
        for i in range(parts):
            share = len(batch) // parts
            piece = batch.map(lambda t, i=i, n=share: t[i * n : (i + 1) * n].to(self.device, non_blocking=True))
            last = i == parts - 1
            waits = nullcontext() if last or self.processes.world == 1 else self.net.no_sync()
            with waits:
                predicted, previous = self.predict(piece)
                loss, terms = self.losses(predicted, piece, previous)
                # All processes stop together: one that waits for another's gradients would wait for ever.
                if self.processes.any(not torch.isfinite(loss), self.device):
                    self._stop_at(piece, f"the loss is {loss.item()}")
                self.scaler.scale(loss / parts).backward()
            for name, value in {"loss": loss.detach(), **terms}.items():
                sums[name] = sums.get(name, 0.0) + value.item() / parts
        return sums

    def _stop_at(self, batch: Batch, what: str) -> None:
        path = self.folder / (f"{self.processes.rank}-" * (not self.processes.first) + NON_FINITE_FILE)
        where = f"its batch is in {path}"
        try:
            torch.save({name: value for name, value in vars(batch.map(Tensor.cpu)).items() if value is not None}, path)
        except (OSError, RuntimeError) as error:  # torch turns a failed write into a RuntimeError
            where = f"its batch cannot be saved to {path} ({' '.join(str(error).split())[:160]})"
        raise TrainingError(f"{what} at step {self.step}: {where}; lower the rate, or clip")

    def rates(self) -> float:
        """Set the rates of this step; the share of their peaks."""
        optim = self.config.optim
        share = rate_at(self.step, self.config.total_steps, optim.warmup_steps, optim.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share
        return share

    def train_step(self, batch: Batch) -> dict[str, float]:
        # Dropout and the like depend on the step alone too.
        torch.manual_seed((self.config.seed * 1_000_003 + self.step) * 1009 + self.processes.rank)
        self.rates()
        values = self.backward(batch)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip_norm or float("inf"))
        # The scaler of fp16 leaves out such a step by itself, and lowers its scale.
        if not self.scaler.is_enabled() and not torch.isfinite(norm):
            self._stop_at(batch, f"the norm of the gradients is {norm.item()}")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.ema.update(self.model, self.step)
        self.step += 1
        return values

    def run(self, max_minutes: float | None = None) -> bool:
        """Train to the last step, to the limit, or to SIGTERM or Ctrl-C, and leave a checkpoint each way.

        returns  whether the run is complete
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        stop: list[bool] = []
        handlers = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                handlers[number] = signal.signal(number, lambda *_: stop.append(True))
        deadline = time.monotonic() + 60 * max_minutes if max_minutes is not None else float("inf")
        config = self.config
        report = None
        if self.processes.first:
            report = TrainingLog(self.folder, config.total_steps, config.log_every, config.tensorboard, self.quiet)
        sheets = config.samples_every if kind_of(self.model) != "codes" else 0
        batches = prefetch(self.batch_at, self.step, config.total_steps, workers=2 if config.degrade.any else 1)
        try:
            while self.step < config.total_steps:
                if self.processes.any(bool(stop) or time.monotonic() > deadline, self.device):
                    break
                before = time.monotonic()
                batch = next(batches)
                waited = time.monotonic() - before
                values = self.train_step(batch)
                if report:
                    group = self.optimizer.param_groups[0]
                    report.add(self.step, values, {"rate": group["lr"]}, len(batch) * self.processes.world, waited)
                    if sheets and self.step % sheets == 0 and report.events:
                        report.picture(self.step, self.samples())
                if self.step % config.checkpoint_every == 0:
                    self.save()
            self.save()
        finally:
            batches.close()
            if report:
                report.close()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return self.step == config.total_steps

    @torch.no_grad()
    def samples(self, count: int = 4) -> np.ndarray:
        """Gray, ours and original of a few crops that are always the same: (H, W, 3) uint8."""
        seed, size = (self.config.seed, SAMPLE_STREAM), self.config.phases[-1].crop
        batch = self.crops.batch(seed, size, count, slice(None), self.model.stride)
        batch = batch.map(lambda t: t.to(self.device))
        self.model.eval()
        try:
            ours = Prediction(self.model(batch.lightness), self.centers).ab(0.38)
        finally:
            self.model.train()
        return sample_sheet(batch.lightness, ours, batch.ab)
