"""Mask R-CNN (He et al. 2017) on a feature pyramid: torchvision's two, one on ResNet-18, and a small one for a CPU.

Built from parts, so that nothing is fetched: torchvision's own builders download a backbone unless told not to, train
every layer without weights whatever is asked for, and normalise with 1e-5 where COCO's weights need 0.
"""
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection import faster_rcnn as box_parts
from torchvision.models.detection import mask_rcnn as mask_parts
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN, _resnet_fpn_extractor
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FrozenBatchNorm2d

NAMES = ("resnet50", "resnet50-v2", "resnet18", "small")
RATIOS = (0.5, 1.0, 2.0)
# What depends on the number of classes or of anchors: made anew where the file's has another shape.
REPLACED = ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.", "rpn.head.cls_logits.",
            "rpn.head.bbox_pred.")
BACKGROUND_LEAD = 4.0       # of its first score over the classes': a region is a defect with 0.02
SMALL_WIDTH, SMALL_PYRAMID = 24, 64


class Detector(MaskRCNN):
    """Mask R-CNN whose masks stay small in evaluation, [N, 1, 28, 28] within their boxes, until detect.predict cuts
    them out: torchvision would make an array of the image's size for each.

    still_norms  BatchNorm keeps its statistics while training, as small batches want it
    """
    still_norms = False

    def train(self, mode: bool = True) -> "Detector":
        super().train(mode)
        if mode and self.still_norms:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


class BoxesBack(GeneralizedRCNNTransform):
    """Takes boxes back to the image's own size, and leaves masks in their boxes."""

    def postprocess(self, result: list[dict[str, Tensor]], image_shapes: Sequence, original: Sequence) -> list[dict]:
        for found, now, own in zip(result, image_shapes, original):
            scale = [own[axis] / now[axis] for axis in (1, 0, 1, 0)]
            found["boxes"] = found["boxes"] * found["boxes"].new_tensor(scale)
        return result


def build(name: str, classes: int, *, norm: str = "group", anchors_px: Sequence[int] = (32, 64, 128, 256, 512),
          side_px: int = 640, longest_px: int = 1333, proposals: int = 1000, regions: int = 512,
          anchor_samples: int = 256, anchor_overlap: float = 0.7, detections: int = 100, trainable_layers: int = 5,
          still_norms: bool = False, backbone: Mapping[str, Tensor] | None = None) -> Detector:
    """A network for `classes` defect classes; the background is class 0 of its outputs.

    norm              "frozen" (with weights), "batch", or "group" (from scratch)
    anchors_px        side of the anchors at strides 4, 8, 16, 32, 64
    side_px           images are scaled so that their shorter side has it, and the longer at most longest_px
    anchor_overlap    of an anchor with a defect, from which proposals learn from it
    trainable_layers  of the backbone's five, the last ones learn; pyramid and heads always do
    backbone          its weights, as torchvision's classifiers name them
    ValueError: names the tensors of `backbone` that do not fit.
    """
    layer = {"frozen": FrozenBatchNorm2d, "batch": nn.BatchNorm2d, "group": group_norm}[norm]
    second = name == "resnet50-v2"
    if name == "small":
        body = _small(layer)
        body.out_channels = SMALL_PYRAMID
    else:
        deep = resnet.resnet18 if name == "resnet18" else resnet.resnet50
        plain = deep(weights=None, norm_layer=layer)
        if backbone is not None:
            fill(plain, backbone, ("fc.",))
        body = _resnet_fpn_extractor(plain, trainable_layers, norm_layer=_plain_norm(layer) if second else None)
    generator = AnchorGenerator(tuple((side,) for side in anchors_px), (RATIOS,) * len(anchors_px))
    made = Detector(
        body, **_heads(name, body.out_channels, classes + 1, layer), min_size=side_px, max_size=longest_px,
        rpn_anchor_generator=generator,
        rpn_head=RPNHead(body.out_channels, len(RATIOS), conv_depth=2 if second else 1),
        rpn_pre_nms_top_n_train=2 * proposals, rpn_post_nms_top_n_train=2 * proposals, rpn_pre_nms_top_n_test=proposals,
        rpn_post_nms_top_n_test=proposals, rpn_batch_size_per_image=anchor_samples, rpn_fg_iou_thresh=anchor_overlap,
        box_batch_size_per_image=regions, box_detections_per_img=detections)
    _begin(made)
    transform = made.transform
    made.transform = BoxesBack(transform.min_size, transform.max_size, transform.image_mean, transform.image_std)
    made.still_norms = still_norms
    return made


def load_coco(network: Detector, state: Mapping[str, Tensor]) -> list[str]:
    """Fill the whole network from torchvision's COCO weights; return the tensors that keep their first values because
    the number of classes or anchors is another. ValueError: names the tensors that do not fit."""
    skipped = fill(network, state, (), REPLACED)
    coco_statistics(network)
    return skipped


def coco_statistics(network: Detector) -> None:
    """Normalise as COCO's weights were trained: nothing is added to frozen variances."""
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0


def fill(module: nn.Module, state: Mapping[str, Tensor], unneeded: Sequence[str] = (), replaced: Sequence[str] = (),
         ) -> list[str]:
    """Load a state dict. `unneeded` tensors may be missing on either side, `replaced` ones may have other shapes."""
    own = module.state_dict()
    usual = {name for name in own if name.endswith("num_batches_tracked") or name.startswith(tuple(unneeded) or "/")}
    skipped = [name for name in own if name.startswith(tuple(replaced) or "/") and name in state
               and state[name].shape != own[name].shape]
    wrong = [f"no '{name}'" for name in own if name not in state and name not in usual]
    wrong += [f"'{name}' is {list(state[name].shape)}, here {list(own[name].shape)}" for name in own
              if name in state and name not in usual and name not in skipped and state[name].shape != own[name].shape]
    wrong += [f"'{name}' is not known here" for name in state if name not in own
              and not name.endswith("num_batches_tracked") and not name.startswith(tuple(unneeded) or "/")]
    if wrong:
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise ValueError("; ".join(wrong[:4]) + more)
    module.load_state_dict({name: value for name, value in state.items() if name in own and name not in skipped
                            and name not in usual}, strict=False)
    return skipped


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalisation that does not depend on the batch (Wu and He 2018)."""
    return nn.GroupNorm(max(1, channels // 8) if channels < 256 else 32, channels)


def _plain_norm(layer: type) -> type:
    """The pyramid and heads of v2 have no frozen normalisation."""
    return nn.BatchNorm2d if layer is FrozenBatchNorm2d else layer


def _heads(name: str, channels: int, outputs: int, layer: type) -> dict[str, object]:
    """What differs from torchvision's defaults for `outputs` classes with the background."""
    if name == "small":
        return {"box_head": box_parts.TwoMLPHead(channels * 49, 128),
                "box_predictor": box_parts.FastRCNNPredictor(128, outputs),
                "mask_head": mask_parts.MaskRCNNHeads(channels, (channels, channels), 1),
                "mask_predictor": mask_parts.MaskRCNNPredictor(channels, channels, outputs)}
    if name == "resnet50-v2":
        norm = _plain_norm(layer)
        return {"num_classes": outputs,
                "box_head": box_parts.FastRCNNConvFCHead((channels, 7, 7), [256] * 4, [1024], norm_layer=norm),
                "mask_head": mask_parts.MaskRCNNHeads(channels, [256] * 4, 1, norm_layer=norm)}
    return {"num_classes": outputs}


def _begin(network: MaskRCNN) -> None:
    """First weights of the last layers that call nearly everything background, with boxes and masks undecided.

    torchvision's own begin with a mask loss near 30 and call half of all regions defects.
    """
    for layer, deviation in ((network.roi_heads.box_predictor.cls_score, 0.01),
                             (network.roi_heads.box_predictor.bbox_pred, 0.001),
                             (network.roi_heads.mask_predictor.mask_fcn_logits, 0.001)):
        nn.init.normal_(layer.weight, std=deviation)
        nn.init.zeros_(layer.bias)
    nn.init.constant_(network.roi_heads.box_predictor.cls_score.bias[:1], BACKGROUND_LEAD)


def _small(layer: type) -> BackboneWithFPN:
    """1.4 million parameters with the heads."""
    widths = [SMALL_WIDTH * 2 ** k for k in range(4)]
    return BackboneWithFPN(nn.Sequential(small_stages(layer, 4)), {f"layer{k}": str(k - 1) for k in range(1, 5)},
                           widths, SMALL_PYRAMID)


def small_stages(layer: type, count: int) -> OrderedDict[str, nn.Module]:
    """Stages of one block each on a thin stem: strides 4, 8, ... and 24, 48, ... channels."""
    width, stages = SMALL_WIDTH, OrderedDict()
    stages["stem"] = nn.Sequential(nn.Conv2d(3, width, 7, 2, 3, bias=False), layer(width), nn.ReLU(inplace=True),
                                   nn.MaxPool2d(3, 2, 1))
    widths = [width * 2 ** k for k in range(count)]
    for number, (before, after) in enumerate(zip([width, *widths], widths), 1):
        stride = 1 if number == 1 else 2
        down = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), layer(after))
        stages[f"layer{number}"] = resnet.BasicBlock(before, after, stride, down, norm_layer=layer)
    return stages


def parameters_by_decay(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters that learn: those with weight decay, and norms and biases, without."""
    learning = [p for p in network.parameters() if p.requires_grad]
    return [p for p in learning if p.ndim > 1], [p for p in learning if p.ndim <= 1]


