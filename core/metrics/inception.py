"""Inception v3 as FID has it: torchvision's, changed where TensorFlow's network of 2015 differs."""
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import inception

OUTPUTS = 1008                  # of the file's classifier, which tells it from torchvision's with 1000


def fid_inception() -> nn.Module:
    """The network without weights or classifier; it reads the state dict `pt_inception-2015-12-05` by its own keys.

    Two differences in the blocks' pooling branch: averages leave out the padding, and the last block takes the
    maximum. Input float [N, 3, 299, 299], (value - 128) / 128 of 0..255.
    """
    network = inception.Inception3(aux_logits=False, transform_input=False, init_weights=False)
    blocks = {name: block for name, block in network.named_children() if name.startswith("Mixed")}
    for name, block in blocks.items():
        if hasattr(block, "branch_pool"):                               # those that halve the size have none
            block.branch_pool = _Pooled(block.branch_pool, maximum=name == "Mixed_7c")
            _hand_over_input(block)
    network.fc = nn.Identity()
    return network


class _Pooled(nn.Module):
    """A block's pooling branch on the block's own input, whatever the block has pooled for it."""

    def __init__(self, convolution: nn.Module, *, maximum: bool):
        super().__init__()
        self.conv, self.bn = convolution.conv, convolution.bn           # so that the keys stay the file's
        self.pool = F.max_pool2d if maximum else _average
        self.input: torch.Tensor | None = None

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        pooled, self.input = self.pool(self.input, 3, 1, 1), None
        return F.relu(self.bn(self.conv(pooled)))


def _average(x: torch.Tensor, side: int, stride: int, padding: int) -> torch.Tensor:
    return F.avg_pool2d(x, side, stride, padding, count_include_pad=False)


def _hand_over_input(block: nn.Module) -> None:
    def keep(module: nn.Module, inputs: tuple) -> None:
        module.branch_pool.input = inputs[0]
    block.register_forward_pre_hook(keep)
