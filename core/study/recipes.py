"""The published figures of the field's earlier systems, each with the recipe that measures the same thing here."""
from dataclasses import dataclass

from ..errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Recipe:
    """One published figure, or several of one table.

    published   (what, value) as printed by its authors
    source      where; wanted: which data it was measured on, and where to put them
    differs     what is not as published, in data or protocol, one line each
    steps       commands, run one after the other from the checkout; {data}, {output} and {device} are filled in.
                One that begins with ":" is a function of core.study.overlap
    ours        (what, file below the output, keys into its JSON joined by "/"), read after the steps
    time        of the steps on the nearest public subset, on one CPU core
    """
    name: str
    system: str
    published: tuple[tuple[str, str], ...]
    source: str
    wanted: str
    differs: tuple[str, ...]
    steps: tuple[str, ...]
    ours: tuple[tuple[str, str, str], ...]
    time: str


STUDY = ("python scripts/study.py --data {data} --task detect --methods none,copypaste,METHOD --scales SCALES "
         "--seeds 3 --shots 10 --device {device} --output {output}/study")

RECIPES = (
    Recipe(
        name="midg-map", system="MIDG",
        published=(("mAP gain, Faster R-CNN", "+3.1"), ("mAP gain, YOLOv8", "+2.7"), ("mAP gain, YOLOv5", "+3.0")),
        source="github luojxscut/MIDG, README; Signal, Image and Video Processing 2025, doi 10.1007/s11760-025-03987-y",
        wanted="several hundred labelled images of flexible circuits, not published (the repository has 4): a set of "
               "your own, in any format, or the nearest public one, DeepPCB: PCBData/ of github tangsanli5201/DeepPCB",
        differs=("data: DeepPCB's bare boards in place of flexible circuits",
                 "a small Mask R-CNN of 1.4 million parameters, from no weights, in place of Faster R-CNN and YOLO",
                 "ten real defects a class and boards that were never seen; the published split is not told",
                 "copy-paste as a second baseline, three seeds and intervals; published: one run",
                 "the number of generated images is not published; here one a real image"),
        steps=(STUDY.replace("METHOD", "midg").replace("SCALES", "1"),),
        ours=(("gain of midg over none, mAP50-95", "study/study.json", "table/rows/midg-1x/over_none/mAP50-95/gain"),
              ("gain of midg over copy-paste", "study/study.json", "table/rows/midg-1x/over_copypaste/mAP50-95/gain"),
              ("gain of copy-paste over none", "study/study.json", "table/rows/copypaste-1x/over_none/mAP50-95/gain")),
        time="about 2 hours"),
    Recipe(
        name="midg-images", system="MIDG",
        published=(("PSNR of training windows, its log, iterations 9500 to 10000", "31.06 dB"),
                   ("the repository's image of 000686 by its own script: grey PSNR, SSIM 51 px, relative MAE",
                    "29.72 dB, 0.9906, 0.0079"),
                   ("of 000759", "30.41 dB, 0.9911, 0.0048")),
        source="github luojxscut/MIDG: checkpoints/exposed_copper/log_edge_inpaint.dat, results; values recomputed "
               "from its pictures, none is printed in words",
        wanted="dataset/ and checkpoints/exposed_copper/results of the repository, as dataset/ and published_results/",
        differs=("measured on the two published results; the several hundred images to train on are not public",
                 "whole pictures, as the earlier script did: what lies outside the mask is copied, which flatters"),
        steps=("python scripts/metrics.py --legacy --partial "
               "--data {data}/dataset/kinds/exposed_copper/exposed_copper/test "
               "--output {data}/published_results --results {output}",),
        ours=(("grey PSNR, mean of both, dB", "metrics.json", "means/psnr"),
              ("SSIM 51 px", "metrics.json", "means/ssim"), ("relative MAE", "metrics.json", "means/mae")),
        time="5 seconds"),
    Recipe(
        name="crg-map", system="CRG",
        published=(("mAP50-95, real data alone", "0.496"), ("with generated data, 1x", "0.557"),
                   ("2x and 3x, read off the plot", "0.573, 0.579"),
                   ("recall: real alone, 1x, 2x, 3x", "0.869, 0.935, 0.942, 0.963")),
        source="github weihang-luo/CRG-Diffusion, README and its plot; the detector is not named",
        wanted="PKU-Market-PCB (HRIPCB, arXiv 1901.08204), 693 images with VOC boxes: images/ and Annotations/ in one "
               "folder. It is given by its authors on request",
        differs=("split by board, where the set names boards; the published split is not told, and its 10 boards are "
                 "in training and test alike in most projects",
                 "ten real defects a class in place of the whole training split: --shots all is nearer",
                 "a small Mask R-CNN from no weights; copy-paste as a baseline, which the published plot lacks",
                 "CRG's two networks are trained on the shots, small and short; published: 177 million parameters"),
        steps=(STUDY.replace("METHOD", "crg").replace("SCALES", "1,2,3"),),
        ours=tuple((f"mAP50-95, {name}", "study/study.json", f"table/rows/{name}/values/mAP50-95/mean")
                   for name in ("none", "copypaste-1x", "crg-1x", "crg-2x", "crg-3x")),
        time="many hours without a GPU"),
    Recipe(
        name="flexunet", system="FlexUNet",
        published=(("categorical cross entropy, 151 tiles", "0.07"), ("dice_coef_multiclass", "0.967")),
        source="github atlan-antillia/TensorFlow-FlexUNet-Tiled-Image-Segmentation-Aluminum-Surface-Defect, README",
        wanted="images/, masks/ (coloured) and published_predictions/ (mini_test_output_tiled) of that repository's "
               "mini_test; for a training the 360 images of figshare 27778473 and configs/segment-flexunet.yaml",
        differs=("the published weights' own predictions of whole images, judged by overlap; nothing is trained",
                 "its \"dice\" adds classes up before the ratio, which makes it the share of right pixels: predicting "
                 "background everywhere already has 0.88 on whole images",
                 "published on tiles that hold a defect each, so that false alarms never counted",
                 "one-pixel rims of other classes in the masks are cleaned"),
        steps=(":published_predictions",),
        ours=(("share of right pixels, what the published \"dice\" measures", "overlap.json", "pixel_accuracy"),
              ("mean IoU of the classes with the background", "overlap.json", "miou"),
              ("mean IoU of the defect classes", "overlap.json", "miou_defects"),
              ("IoU of defect against background", "overlap.json", "defect_iou"),
              ("mean over images of the IoU of the image's main class", "overlap.json", "main_class_iou"),
              ("images", "overlap.json", "images")),
        time="20 seconds"),
    Recipe(
        name="surface-unet", system="synthetic-surface UNet",
        published=(("overlap of prediction and truth", "\"high\"; no number is published"),),
        source="its readme: grey 256x256, BCE + Dice, Adam 1e-4, batch 8, 10 epochs",
        wanted="nothing: the surfaces are made by this command; --data is where they are put",
        differs=("2,500 surfaces of our own drawing; the earlier program's code is not public",
                 "16 filters in place of an unknown number"),
        steps=("python scripts/make_synthetic.py --kind metal --style plain --classes scratch,stain --good 0.25 "
               "--count 2500 --write masks --output {data}",
               "python train.py --model segment --checkpoints {output}/unet --config configs/segment-synthetic.yaml "
               "--set data.root={data} --device {device}",
               "python test.py --model segment --checkpoints {output}/unet --set data.evaluate_on=test --output "
               "{output}/test --overwrite --device {device}"),
        ours=(("IoU of defect, test split", "test/metrics.json", "defect_iou"),
              ("Dice of defect", "test/metrics.json", "defect_dice")),
        time="20 minutes"),
    Recipe(
        name="maskrcnn", system="o-ring Mask R-CNN",
        published=(("box AP / mask AP of the weights that it starts from, on COCO", "37.9 / 34.6"),
                   ("figures on its own parts", "none is published")),
        source="torchvision, MaskRCNN_ResNet50_FPN_Weights.COCO_V1; the project's readme tells its protocol alone",
        wanted="labelme files with images of one's own parts; BSData (github 2Obe/BSData) is the nearest public set",
        differs=("data: ball screws in place of rubber rings",
                 "the small network from no weights in place of ResNet-50 with COCO's",
                 "split by part; the threshold is chosen on val and used on test"),
        steps=("python train.py --model detect --checkpoints {output}/detect --config configs/detect-small.yaml "
               "--set data.root={data} --set loop.steps=1500 --device {device}",
               "python test.py --model detect --checkpoints {output}/detect --set data.evaluate_on=test --output "
               "{output}/test --overwrite --device {device}"),
        ours=(("box AP", "test/metrics.json", "bbox/AP"), ("mask AP", "test/metrics.json", "segm/AP"),
              ("image AUROC", "test/metrics.json", "image/auroc")),
        time="25 minutes"),
)


def find(name: str) -> Recipe:
    """The recipe of that name. ConfigError names the nearest one."""
    named = {recipe.name: recipe for recipe in RECIPES}
    if name not in named:
        raise ConfigError(f"--table: no such table, got '{name}'. {did_you_mean(name, named)}One of {', '.join(named)}")
    return named[name]
