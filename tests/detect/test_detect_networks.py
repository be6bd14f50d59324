"""Mask R-CNN from parts: torchvision's own sizes, its traps closed, every kind of batch."""
import socket

import pytest
import torch
from torch import nn
from torchvision.models import resnet18
from torchvision.ops import FrozenBatchNorm2d

from detect.networks import build, fill, load_coco, parameters_by_decay


@pytest.fixture(autouse=True)
def no_network(monkeypatch, one_thread):
    def refuse(*_, **__):
        raise AssertionError("a network connection was tried")
    monkeypatch.setattr(socket.socket, "connect", refuse)


def small(**options):
    torch.manual_seed(0)
    return build("small", 2, **{"side_px": 64, "anchors_px": (8, 16, 32, 64, 96), "proposals": 50, "regions": 32,
                                **options})


def target(boxes, side: int = 64):
    masks = torch.zeros(len(boxes), side, side, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes):
        mask[y1:y2, x1:x2] = 1
    return {"boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), "masks": masks,
            "labels": torch.ones(len(boxes), dtype=torch.int64)}


@pytest.mark.parametrize(("name", "count"), [("resnet50", 43_975_515), ("resnet50-v2", 45_880_411)])
def test_sizes_are_torchvisions(name, count):
    with torch.device("meta"):
        network = build(name, 1, norm="batch")
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("norm", ["frozen", "batch"])
@pytest.mark.parametrize("layers", range(6))
def test_the_last_layers_of_the_backbone_learn(layers, norm):
    with torch.device("meta"):
        network = build("resnet18", 1, norm=norm, trainable_layers=layers)
    body = {name.split(".")[0] for name, p in network.backbone.body.named_parameters() if p.requires_grad}
    order = ["conv1", "layer1", "layer2", "layer3", "layer4"]
    assert body == {*order[5 - layers:], *(["bn1"] if layers == 5 and norm == "batch" else [])}
    assert all(p.requires_grad for part in (network.backbone.fpn, network.rpn, network.roi_heads)
               for p in part.parameters())
    decayed, plain = parameters_by_decay(network)
    assert len(decayed) + len(plain) == sum(p.requires_grad for p in network.parameters())


def test_a_local_backbone_is_loaded_and_another_one_refused():
    state = resnet18(weights=None).state_dict()
    network = build("resnet18", 1, norm="frozen", backbone=state)
    assert torch.equal(network.backbone.body.layer1[0].conv1.weight, state["layer1.0.conv1.weight"])
    with pytest.raises(ValueError, match=r"no 'layer1.0.conv3.weight'.* more"):
        build("resnet50", 1, norm="frozen", backbone=state)


def test_coco_weights_keep_all_but_what_depends_on_classes_and_anchors():
    network = small(norm="frozen")
    other = build("small", 5, side_px=64, anchors_px=(8, 16, 32, 64, 96), norm="frozen")
    skipped = load_coco(network, other.state_dict())
    assert all(name.startswith(("roi_heads.box_predictor", "roi_heads.mask_predictor.mask_fcn_logits"))
               for name in skipped)
    assert len(skipped) == 6
    assert torch.equal(network.backbone.body.layer2.conv1.weight, other.backbone.body.layer2.conv1.weight)
    assert {m.eps for m in network.modules() if isinstance(m, FrozenBatchNorm2d)} == {0.0}
    with pytest.raises(ValueError, match="no 'backbone.body.stem.0.weight'"):
        fill(network, {})


@pytest.mark.parametrize("boxes", [([(5, 5, 25, 25)], []), ([], []), ([(0, 0, 64, 64)], [(3, 3, 5, 6)]),
                                   ([(7, 7, 8, 8)], [(63, 63, 64, 64)])])
def test_every_kind_of_batch_has_losses_and_gradients(boxes):
    network = small().train()
    losses = network([torch.rand(3, 64, 64) for _ in boxes], [target(list(one)) for one in boxes])
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}
    total = sum(losses.values())
    assert torch.isfinite(total)
    total.backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    assert network.backbone.body.stem[0].weight.grad.abs().sum() > 0


def test_masks_stay_in_their_boxes_and_boxes_come_back_to_the_images_size():
    network = small().eval()
    network.roi_heads.score_thresh = 0.0
    with torch.no_grad():
        found, = network([torch.rand(3, 128, 100)])
    assert found["masks"].shape[1:] == (1, 28, 28)
    assert len(found["boxes"]) > 0
    assert found["boxes"][:, 2].max() <= 100
    assert 64 < found["boxes"][:, 3].max() <= 128


def test_statistics_stay_still_where_asked():
    network = small(norm="batch", still_norms=True).train()
    assert not any(m.training for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    assert network.roi_heads.training
    assert any(m.training for m in small(norm="batch").train().modules() if isinstance(m, nn.BatchNorm2d))
