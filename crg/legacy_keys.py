"""What each key of the earlier CRG code's YAML files means here: the name it has now, or why it has no effect."""
import math
from typing import Any


def whole_numbers(value: Any) -> list[int]:
    """"1, 1, 2" or [1, 1, 2] or 2 as a list."""
    parts = value if isinstance(value, list) else str(value).split(",")
    try:
        return [int(str(part).strip()) for part in parts]
    except ValueError:
        raise ValueError("must be whole numbers with commas between them") from None


def first_rate(value: Any) -> float:
    """The half-life in steps of the (first) rate of an average."""
    rate = float(str(value).split(",")[0])
    if not 0 < rate < 1:
        raise ValueError("must lie between 0 and 1")
    return math.log(0.5) / math.log(rate)


def at_least_zero(value: Any) -> float:
    return max(float(value), 0.0)


def text(value: Any) -> str:
    return str(value)


def precision(value: Any) -> str:
    return "bfloat16" if value is True else "float32"


MARKS = {"num_channels", "channel_mult", "num_head_channels"}               # every file of the earlier code has these
SECTIONS = ("ddim.", "optimize_xt.", "attention_features.", "g_scha.")      # those that paint have one of these

NETWORK = {                 # key -> key of a section `network`, and how the value is read
    "image_size": "size_px", "num_channels": "width", "channel_mult": ("multipliers", whole_numbers),
    "num_res_blocks": "blocks", "attention_resolutions": ("attention_px", whole_numbers),
    "num_head_channels": "head_channels", "dropout": "dropout"}


def below(section: str, rows: dict) -> dict:
    return {key: f"{section}.{row}" if isinstance(row, str) else (f"{section}.{row[0]}", row[1])
            for key, row in rows.items()}


PAINT = {
    **below("context.network", NETWORK),
    **{f"crop.{key}": row for key, row in below("defect.network", NETWORK).items()},
    "model_path": "context.weights", "crop_model_path": "defect.weights", "defect_free_dir": "images",
    "crop_class_json_path": "classes", "outdir": "output", "seed": "seed",
    **below("sampler.schedule", {"diffusion_steps": "steps", "noise_schedule": "kind",
                                 "timestep_respacing": ("respacing", text)}),
    **{f"ddim.{key}": row for key, row in below("sampler.walk", {
        "ddim_sigma": "eta", "schedule_params.num_inference_steps": "steps", "schedule_params.schedule_type": "spacing",
        "schedule_params.jump_length": "jump", "schedule_params.jump_n_sample": "passes",
        "schedule_params.use_timetravel": "time_travel", "schedule_params.time_travel_filter_type": "jumps_where",
        "schedule_params.start_step": "start"}).items()},
    **{f"attention_features.{key}": row for key, row in below("sampler.mask", {
        "enabled": "enabled", "temperature": "temperature", "blur_sigma": "blur_sigma_px",
        "center_weight": ("center_weight", at_least_zero), "radial_decay": "radial_decay",
        "connected_components": "components", "min_area_ratio": "min_area_ratio",
        "center_region_ratio": "center_region_ratio", "adaptive_threshold": "adaptive_threshold",
        "threshold_factor": "threshold_factor", "accumulation_enabled": "accumulate",
        "accumulation_beta": "accumulation_beta", "adaptive_beta": "adaptive_beta", "beta_min": "beta_min",
    }).items()},
    **{f"optimize_xt.{key}": row for key, row in below("sampler.guidance", {
        "lr_xt": "learning_rate", "lr_crop": "move_patch", "lr_xt_decay": "learning_rate_growth",
        "use_adaptive_lr_xt": "line_search", "coef_xt_reg": "regulariser", "coef_xt_reg_decay": "regulariser_growth",
        "mid_interval_num": "prediction_steps", "optimize_before_time_travel": "before_jumps"}).items()},
    **{f"g_scha.{key}": row for key, row in below("sampler.guidance", {
        "start": "iterations_first", "end": "iterations_last", "stop": "iterations_from"}).items()},
}
TRAIN = {
    **below("network", NETWORK),
    **below("schedule", {"diffusion_steps": "steps", "noise_schedule": "kind"}),
    **below("optimizer", {"lr": "learning_rate", "weight_decay": "weight_decay"}),
    **below("loop", {"lr_anneal_steps": "steps", "batch_size": "batch_size", "log_interval": "report_every",
                     "save_interval": "save_every", "use_fp16": ("precision", precision)}),
    "ema_rate": ("ema.half_life_steps", first_rate),
    "sample_num": "sheet.shown",
    "data_dir": "data.root",
}

FIXED = {                   # key -> the values that it may have, the usual one first; why not another
    "learn_sigma": ((True,), "the networks also predict the variance"),
    "use_scale_shift_norm": ((True,), "the published networks have it"),
    "resblock_updown": ((True,), "the published networks have it"),
    "use_new_attention_order": ((False,), "the published networks have the other order"),
    "rescale_timesteps": ((False,), "the published networks are told the timestep as it is"),
    "predict_xstart": ((False,), "the published networks predict the noise"),
    "use_kl": ((False,), "the loss is the squared error of the noise and the bound for the variance"),
    "rescale_learned_sigmas": ((False,), "the loss is the squared error of the noise and the bound for the variance"),
    "respace_interpolate": ((False,), "the earlier code stopped with an error"),
    "use_git": ((False,), "the earlier code stopped with an error"),
    "optimize_xt.optimize_xt": ((True,), "the earlier code stopped with an error"),
    "optimize_xt.use_smart_lr_xt_decay": ((True,), "the earlier code stopped with an error"),
}
FIXED |= {f"crop.{key}": FIXED[key] for key in ("learn_sigma", "use_scale_shift_norm", "resblock_updown",
                                                "use_new_attention_order")}
UNUSED = "nothing in the earlier code read it"
DEAD = {                    # read and ignored: key, or the beginning of keys with "*" -> why
    "algorithm": "the sampler was fixed in the code", "n_samples": UNUSED + "; it made one picture a line",
    "n_iter": UNUSED, "n_jobs": UNUSED, "debug": UNUSED, "max_iter": UNUSED, "gd_mask_radius": UNUSED,
    "print_estimated_vars": UNUSED, "gt_path": UNUSED, "inpa_inj_sched_prev*": UNUSED, "classifier_*": UNUSED,
    "lr_kernel_n_std": UNUSED, "num_samples": UNUSED, "show_progress": UNUSED, "use_ddim": UNUSED,
    "clip_denoised": "predictions of the clean image are always clamped", "schedule_sampler": "timesteps are uniform",
    "repaint.*": UNUSED, "name": UNUSED,
    "cuda": "the device is chosen by --device",
    "optimize_xt.num_iteration_optimize_xt": UNUSED + "; the number comes from g_scha",
    "num_heads": "num_head_channels says it", "num_heads_upsample": "num_head_channels says it",
    "use_checkpoint": "nothing is computed twice to save memory here", "use_fp16": "the earlier code stopped "
    "with an error where it was true; --set precision=bfloat16 is the way here",
    "class_cond": "the number of classes says it", "ddim.schedule_params.ddpm_num_steps": "timestep_respacing says it",
    "crop.num_heads": "num_head_channels says it", "crop.num_heads_upsample": "num_head_channels says it",
    "crop.use_checkpoint": "nothing is computed twice to save memory here",
    "crop.use_fp16": "the earlier code stopped with an error where it was true", "crop.class_cond": "the number of "
    "classes says it",
    # training
    "shuffle": "every pass is in another order", "microbatch": UNUSED, "fp16_scale_growth": UNUSED,
    "checkpoint_dir": "the folder is that of --checkpoints", "resume_checkpoint": "the same command goes on",
    "class_json_path": "the classes are those of the data", "timestep_respacing": "training takes every timestep",
    "config_path": "the run's folder keeps its configuration",
}
