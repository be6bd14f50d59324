"""The bench compares like with like: its plain build has the networks of this package, learning from the same files."""
import torch

from midg import bench, plain
from midg.networks import DefectGenerator, Discriminator, EdgeGenerator


def convolutions(network) -> list[torch.nn.Module]:
    """Of one of this package's generators, in the order of the plain one's."""
    found = [block.conv for part in network.down for block in (part.first, part.second)]
    found += [part.conv for part in reversed(network.up)]
    found += [block.conv for part in reversed(network.merge) for block in (part.first, part.second)]
    return [*found, network.output]


def take_over(mine: list, theirs: list) -> None:
    """Copy the weights of convolutions, those behind spectral norms with their vectors."""
    assert len(mine) == len(theirs)
    for source, target in zip(mine, theirs):
        if hasattr(source, "parametrizations"):
            here, there = source.parametrizations.weight, target.parametrizations.weight
            there.original.data.copy_(here.original)
            there[0]._u.copy_(here[0].u)
            there[0]._v.copy_(here[0].v)
        else:
            target.weight.data.copy_(source.weight)
        if source.bias is not None:
            target.bias.data.copy_(source.bias)


def plain_convolutions(network) -> list[torch.nn.Module]:
    return [module for part in (network.down, network.up, network.merge, [network.output]) for block in part
            for module in block.modules() if isinstance(module, torch.nn.Conv2d)]


def test_the_plain_edge_generator_and_discriminator_are_ours():
    torch.manual_seed(0)
    mine, theirs, x = EdgeGenerator(4).eval(), plain.UNet(3, 1, 4, spectral=True).eval(), torch.rand(2, 3, 48, 32)
    take_over(convolutions(mine), plain_convolutions(theirs))
    torch.testing.assert_close(mine(x).sigmoid(), theirs(x))
    mine, theirs = Discriminator(3, 4).eval(), plain.discriminator(4).eval()
    take_over(list(mine.layers), [module for module in theirs.modules() if isinstance(module, torch.nn.Conv2d)])
    for own, other in zip(mine(x), plain.layers(theirs, x)):
        torch.testing.assert_close(own, other)


def test_the_plain_defect_generator_is_ours():
    torch.manual_seed(0)
    mine, theirs = DefectGenerator(4).eval(), plain.DefectUNet(4).eval()
    take_over(convolutions(mine), plain_convolutions(theirs))
    take_over([block.conv for part in mine.fusion for block in (part.first, part.second)],
              [module for module in theirs.fusion.modules() if isinstance(module, torch.nn.Conv2d)])
    theirs.gate.weight.data.copy_(mine.attention.gate.weight)
    x, attention = torch.rand(2, 4, 48, 32), (torch.rand(2, 1, 48, 32) > 0.9).float()
    torch.testing.assert_close(mine(x, attention), theirs(x, attention))


def test_the_plain_networks_have_the_published_numbers_of_weights():
    counts = [sum(p.numel() for p in network.parameters()) for network in
              (plain.UNet(3, 1, 64, spectral=True), plain.DefectUNet(64), plain.discriminator(64))]
    assert counts == [34_506_497, 35_067_398, 2_763_776]


def test_training_is_timed_for_both_models():
    rows = list(bench.training([2], steps=1, batch_size=2, side_px=64))
    assert [row[0].split(", ")[0] for row in rows] == ["training of model 1"] * 2 + ["training of model 3"] * 2
    assert all(" x, reach >= 1.5" in row[2] for row in rows[1::2])


def test_edges_are_timed_and_are_equal_to_the_pixel(monkeypatch):
    monkeypatch.setattr(bench, "CANNY_ROUNDS", 1)
    rows = list(bench.edges())
    assert len(rows) == 3
    assert "(0 px differ)" in rows[1][0]
