"""Training on the CPU: a fixed schedule, no choice by score, and a killed one goes on as if nothing had happened."""
import json
import math
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from npukit import command, files
from npukit.errors import UserError


class Training:
    """The state of a training.

    net        to be trained; average.module is the moving average of its weights, which is what is shipped
    optimizer  its learning rate is the peak: warm-up over the first twentieth, then half a cosine to zero
    average    decay of the moving average
    recipe     what has to be the same for one training to go on from another: epochs, seed, sizes, digests of the data;
               plain numbers and strings
    """

    def __init__(self, net: torch.nn.Module, optimizer: torch.optim.Optimizer, average: float, gradient_norm: float,
                 recipe: dict):
        self.net, self.optimizer, self.gradient_norm = net, optimizer, gradient_norm
        self.recipe = {**recipe, "rate": optimizer.defaults["lr"], "average": average, "gradient_norm": gradient_norm}
        self.average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(average))
        self.done, self.seconds, self.curve = 0, 0.0, []

    def run(self, path: Path, batches_of: Callable[[random.Random], list], loss_of: Callable[[object], torch.Tensor],
            score: Callable[[torch.nn.Module], dict]) -> None:
        """Train for the recipe's epochs, from where the file `path` ends if there is one; print a line of JSON an epoch.

        batches_of  the batches of an epoch, all chance in them drawn from what it is given
        loss_of     of one batch
        score       figures of the averaged network for the curve; nothing is decided by them
        """
        self.resume(path)
        for number in range(self.done, self.recipe["epochs"]):
            loss = self.epoch(number, batches_of, loss_of)
            self.curve.append({"epoch": number + 1, "loss": round(loss, 4), **score(self.average.module)})
            print(json.dumps(self.curve[-1]), flush=True)
            self.save(path)

    def epoch(self, number: int, batches_of: Callable, loss_of: Callable) -> float:
        """Run one epoch and return its mean loss; its randomness depends on the seed and its number alone."""
        began, total = time.monotonic(), 0.0
        torch.manual_seed(self.recipe["seed"] + number)
        self.net.train()
        batches = batches_of(random.Random(f"{self.recipe['seed']}/{number}"))
        for place, batch in enumerate(command.progress(batches, f"epoch {number + 1}/{self.recipe['epochs']}",
                                                       unit="batch")):
            self.set_rate((number + place / len(batches)) / self.recipe["epochs"])
            loss = loss_of(batch)
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.gradient_norm)
            self.optimizer.step()
            self.average.update_parameters(self.net)
            total += loss.item()
        self.done, self.seconds = number + 1, self.seconds + time.monotonic() - began
        return total / len(batches)

    def set_rate(self, progress: float) -> None:
        """Set the learning rate for a place in the training, 0 to 1."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe["rate"] * min(progress * 20, 0.5 + 0.5 * math.cos(math.pi * progress))

    def save(self, path: Path) -> None:
        """Write everything that a killed training needs."""
        with files.aside(path) as new:
            torch.save({"recipe": self.recipe, "done": self.done, "seconds": self.seconds, "curve": self.curve,
                        "net": self.net.state_dict(), "average": self.average.state_dict(),
                        "optimizer": self.optimizer.state_dict()}, new)

    def resume(self, path: Path) -> None:
        """Take up what save() wrote, if it did; raise UserError where it belongs to another recipe."""
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state.get("recipe") != self.recipe:
            raise UserError(f"{path} belongs to another training, {state.get('recipe')}; remove it to begin anew")
        for name in ("net", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.done, self.seconds, self.curve = state["done"], state["seconds"], state["curve"]
        print(f"going on after epoch {self.done}", flush=True)

    def card(self, **more) -> dict:
        """Return what is shipped beside the weights: recipe, time, versions, curve."""
        return {**self.recipe, **more, "wall_seconds": round(self.seconds), "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "dev_used_for": "the curve below and the choice of this recipe; not for the epoch or the weights",
                "curve": self.curve}
