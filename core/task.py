"""What a model offers to the training loop, with the part of its configuration that the loop reads."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor, device, nn, optim
from torch.utils.data import Dataset

from .ema import Average
from .watch import WatchConfig


class LoopConfig(BaseModel):
    """Section `loop` of every trainable model. One step is one batch and one turn of every phase that is due."""
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int = Field(ge=1, description="steps in the whole run")
    batch_size: int = Field(ge=1, description="samples a step, over all processes together")
    seed: int = Field(0, ge=0, description="equal seeds, equal runs")
    workers: int = Field(2, ge=0, description="processes that load data; does not change the result")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="bfloat16: mixed, by autocast")
    clip_norm: float | None = Field(None, gt=0, description="gradients are scaled down to this norm; null: not")
    save_every: int = Field(1000, ge=1, description="steps between two checkpoints")
    evaluate_every: int = Field(1000, ge=1, description="steps between two evaluations")
    report_every: int = Field(50, ge=1, description="steps between two lines of the log, and their mean")
    keep: int = Field(2, description="newest checkpoints that are kept, at least 2")
    deterministic: bool = Field(False, description="on a GPU: only operations that repeat bit by bit; slower")

    @field_validator("keep")
    @classmethod
    def one_to_fall_back_on(cls, keep: int) -> int:
        if keep < 2:
            raise ValueError(f"must be at least 2, got {keep}: the newest checkpoint may turn out damaged")
        return keep


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One optimiser's turn within a step: two in a GAN (discriminator, generator), one in most models.

    name            distinguishes it in `Task.losses`, in the log and in the checkpoint
    optimizer       holds the parameters that learn in this phase; all others are frozen meanwhile. A parameter that
                    does not require a gradient when training starts stays frozen throughout
    learning_rate   step -> rate, a pure function (core.schedules), so there is no state to save
    every           the phase runs on steps divisible by this
    """
    name: str
    optimizer: optim.Optimizer
    learning_rate: Callable[[int], float]
    every: int = 1


class Samples(Protocol):
    """Training data: a Dataset indexed by a pair, so that what is drawn depends on the seed and the draw alone.

    `index` is the sample, `draw` counts the samples that the run has taken before this one: take random numbers from
    `core.seeding.rng(seed, draw)`. It is pickled to worker processes. Where it has a method `collate`, that makes a
    batch from a list of samples; otherwise the default of torch does.
    """
    def __len__(self) -> int: ...
    def __getitem__(self, index_and_draw: tuple[int, int]) -> Any: ...


class Task(Protocol):
    """A model that core.loop can train, built as Task(config, device).

    Config      a pydantic model, frozen and with extra="forbid", with a section `loop`: LoopConfig
    modules     everything with weights, by its name in the checkpoint, on the device
    averages    running averages of some of them, by name; may be empty
    phases      in the order in which they run
    train_data  see Samples
    """
    Config: type[BaseModel]
    modules: dict[str, nn.Module]
    averages: dict[str, Average]
    phases: Sequence[Phase]
    train_data: Dataset | Samples

    def losses(self, phase: str, batch: Any) -> dict[str, Tensor]:
        """Weighted scalars by name; their sum is minimised. The batch is on the device, under autocast if asked for."""

    def evaluate(self, folder: Path) -> dict[str, float]:
        """Metrics by name; modules are in evaluation mode, without gradients. `folder` exists and takes pictures."""


class Watched(Protocol):
    """What a task may have besides, to heed its evaluations and to keep a summary of its training.

    watch   which figure of the evaluations decides on the best weights, the rate's drops and an early end
    """
    watch: WatchConfig | None

    def summarise(self, run: Path) -> None:
        """Called when an evaluation is on record; run/metrics.jsonl holds everything so far. Write tables, plots."""


class Settled(Protocol):
    """What a task may have besides, if its config leaves something open that the data say.

    config  the config as it is trained by: it is written into the run's folder
    """
    config: BaseModel


class Applied(Protocol):
    """What a task's class may have besides, for test.py: the model at work on files in place of an evaluation."""

    @classmethod
    def apply(cls, run: Path, inputs: Mapping[str, Path], output: Path, overrides: Sequence[str],
              on: device) -> dict[str, float]:
        """Write into `output`, which may not exist yet, what a run's newest checkpoint makes of the inputs.

        inputs      of --input, --mask, --edge and --inpaint those that were given, or `inputs` of Earlier
        overrides   --set A.B=VALUE over the run's config
        Returns figures by name, such as how many were made.
        """


class Earlier(Protocol):
    """What a task's class may have besides, to take over an experiment of another program: class methods, each alone.

    They are asked before anything is read from the experiment's folder, and change nothing that the other program left.
    """

    @classmethod
    def earlier_config(cls, path: Path) -> tuple[dict, Sequence[str]] | None:
        """What a config file of the other program means, nested as in `Config`, and notes, a line each, on what of it
        has no effect or another one. None: the file is of this project's form."""

    @classmethod
    def adopt(cls, folder: Path) -> Sequence[str]:
        """Make runs of the weights that the other program left in an experiment's folder, where there are no runs yet.
        Returns what was done, a line each."""

    @classmethod
    def inputs(cls, folder: Path, given: Mapping[str, Path]) -> dict[str, Path]:
        """What test.py applies the model to: the options `given`, completed by what the other program's config names;
        "output" is where results go by default. Empty: the model is evaluated."""
