"""lightly's LeJEPA, SimCLR, VICReg and DINO, each with lightly's transform, head and loss.

The network, its image size and the minutes are those that `isojepa pretrain` settles for the set.
What lightly leaves to its user is the same for all: AdamW, peak learning rate 1e-3, weight decay
0.05, warm-up over a tenth and a cosine over the time, batches of 256 or a quarter of the images.
Grey images are read as RGB, which the transforms ask for. Needs the extra `bench`.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightly.loss import DINOLoss, NTXentLoss, VICRegLoss
from lightly.loss.lejepa_loss import LeJEPALoss
from lightly.models.modules import heads
from lightly.models.utils import update_momentum
from lightly.transforms import DINOTransform, SimCLRTransform, VICRegTransform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from measures import Images

PEAK, DECAY, BATCH, WORKERS = 1e-3, 0.05, 256, 1
Loss = Callable[[list[Tensor], float], Tensor]
"""(views, share of the time gone) -> loss."""


class Views(Dataset):
    def __init__(self, images: Images, transform: Any) -> None:
        self.images, self.transform = [], transform
        for path in images.paths:
            with Image.open(path) as image:
                self.images.append(image.convert("RGB"))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> list[Tensor]:
        return list(self.transform(self.images[i]))


def lejepa(network: nn.Module, d: int, size: int) -> tuple[Any, Loss, list[nn.Module]]:
    head = heads.LeJEPAProjectionHead(input_dim=d)
    loss = LeJEPALoss()

    def compute(views: list[Tensor], _gone: float) -> Tensor:
        large = [head(network(v)) for v in views[:2]]
        small = [head(network(v)) for v in views[2:]]
        return loss(local_proj=torch.stack(small), global_proj=torch.stack(large))

    return _dino_views(size), compute, [head]


def simclr(network: nn.Module, d: int, size: int) -> tuple[Any, Loss, list[nn.Module]]:
    head = heads.SimCLRProjectionHead(d, d, 128)
    loss = NTXentLoss()

    def compute(views: list[Tensor], _gone: float) -> Tensor:
        return loss(*(head(network(v)) for v in views))

    return SimCLRTransform(input_size=size), compute, [head]


def vicreg(network: nn.Module, d: int, size: int) -> tuple[Any, Loss, list[nn.Module]]:
    head = heads.VICRegProjectionHead(input_dim=d, hidden_dim=1024, output_dim=1024)
    loss = VICRegLoss()

    def compute(views: list[Tensor], _gone: float) -> Tensor:
        return loss(*(head(network(v)) for v in views))

    return VICRegTransform(input_size=size), compute, [head]


def dino(network: nn.Module, d: int, size: int) -> tuple[Any, Loss, list[nn.Module]]:
    head, teacher_head = (
        heads.DINOProjectionHead(d, 512, 128, 1024, batch_norm=True) for _ in range(2)
    )
    teacher = copy.deepcopy(network)
    teacher_head.load_state_dict(head.state_dict())
    loss = DINOLoss(output_dim=1024, warmup_teacher_temp_epochs=1)

    def compute(views: list[Tensor], gone: float) -> Tensor:
        momentum = 1 - 0.004 * (1 + math.cos(math.pi * gone)) / 2
        update_momentum(network, teacher, momentum)
        update_momentum(head, teacher_head, momentum)
        with torch.no_grad():
            targets = [teacher_head(teacher(v)) for v in views[:2]]
        return loss(targets, [head(network(v)) for v in views], epoch=2)

    return _dino_views(size), compute, [head]


METHODS = {"lejepa": lejepa, "simclr": simclr, "vicreg": vicreg, "dino": dino}


def train(
    method: str, network: nn.Module, d: int, size: int, images: Images, minutes: float, seed: int
) -> int:
    """Train the network in place for as long; returns the number of updates made."""
    torch.manual_seed(seed)
    transform, compute, parts = METHODS[method](network, d, size)
    learnt = nn.ModuleList([network, *parts]).train()
    optimiser = torch.optim.AdamW(learnt.parameters(), lr=PEAK, weight_decay=DECAY)
    batch = min(BATCH, len(images.paths) // 4)
    loader = DataLoader(
        Views(images, transform), batch, shuffle=True, drop_last=True, num_workers=WORKERS,
        persistent_workers=True,
    )  # fmt: skip
    started, made = time.monotonic(), 0
    for views in _endless(loader):
        gone = (time.monotonic() - started) / (60 * minutes)
        if gone >= 1:
            break
        warm = min(1.0, gone / 0.1)
        for group in optimiser.param_groups:
            group["lr"] = PEAK * max(1e-3, warm * 0.5 * (1 + math.cos(math.pi * gone)))
        loss = compute([v.contiguous(memory_format=torch.channels_last) for v in views], gone)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        made += 1
    network.eval()
    return made


def _dino_views(size: int) -> DINOTransform:
    return DINOTransform(global_crop_size=size, local_crop_size=max(8, round(size * 96 / 224)))


def _endless(loader: DataLoader) -> Iterator[list[Tensor]]:
    while True:
        yield from loader
