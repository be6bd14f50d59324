"""The earlier code's YAML files with their published keys and values, as lines of text."""

PCB_GEN = """\
algorithm: fj_ddim
model_path: checkpoint/checkpoint-256-defect-free.pt
crop_model_path: checkpoint/checkpoint-64-defect.pt
defect_free_dir: data/sample/
outdir: ./images/
n_samples: 4
n_iter: 1
n_jobs: 1
seed:
cuda: 0
use_git: false
debug: false
max_iter: 1000
gd_mask_radius: 9
print_estimated_vars: true
inpa_inj_sched_prev: true
inpa_inj_sched_prev_cumnoise: false
gt_path:
crop_class_json_path: ./data/pcb.json
classifier_scale: 1.0
classifier_path:
lr_kernel_n_std: 2
num_samples: 100
show_progress: true
use_ddim: false
clip_denoised: true
schedule_sampler: uniform
attention_features:
  enabled: true
  temperature: 0.3
  blur_sigma: 1.0
  center_weight: 1.0
  radial_decay: 0.15
  connected_components: true
  min_area_ratio: 0.01
  center_region_ratio: 0.2
  adaptive_threshold: true
  threshold_factor: 0.6
  accumulation_enabled: true
  accumulation_beta: 0.9
  adaptive_beta: true
  beta_min: 0.5
ddim:
  ddim_sigma: 0.0
  schedule_params:
    num_inference_steps: 250
    ddpm_num_steps: 250
    schedule_type: linear
    jump_length: 10
    jump_n_sample: 3
    use_timetravel: True
    time_travel_filter_type: none
    start_step: 30
optimize_xt:
  optimize_xt: true
  num_iteration_optimize_xt: 4
  lr_xt: 0.1
  lr_crop: false
  lr_xt_decay: 1.012
  use_smart_lr_xt_decay: true
  use_adaptive_lr_xt: true
  coef_xt_reg: 0.0001
  coef_xt_reg_decay: 1.01
  mid_interval_num: 1
  optimize_before_time_travel: true
g_scha:
  start: 2
  end: 2
  stop: 0
repaint:
  t_T: 250
  n_sample: 1
  jump_length: 10
  jump_n_sample: 10
image_size: 256
class_cond: false
use_fp16: False
channel_mult: '1, 1, 2, 3, 4, 4'
attention_resolutions: '16, 8'
num_channels: 128
num_head_channels: 32
num_heads: 4
num_heads_upsample: -1
num_res_blocks: 2
resblock_updown: true
use_scale_shift_norm: true
dropout: 0.0
use_checkpoint: false
use_new_attention_order: false
learn_sigma: true
diffusion_steps: 1000
noise_schedule: linear
timestep_respacing: '250'
use_kl: false
predict_xstart: false
rescale_timesteps: false
rescale_learned_sigmas: false
respace_interpolate: false
crop:
  image_size: 64
  num_channels: 64
  num_res_blocks: 2
  channel_mult: "1, 2, 3, 4"
  learn_sigma: true
  class_cond: true
  use_checkpoint: false
  attention_resolutions: 16, 8
  num_heads: 4
  num_head_channels: 16
  num_heads_upsample: -1
  use_scale_shift_norm: true
  dropout: 0.0
  resblock_updown: true
  use_fp16: False
  use_new_attention_order: false
"""
TRAIN_64 = """\
shuffle: True
lr: 1e-4
weight_decay: 0.0
lr_anneal_steps: 0
batch_size: 64
microbatch: -1
ema_rate: 0.9999
log_interval: 100
save_interval: 10000
checkpoint_dir: checkpoint/laether_64_cond/
resume_checkpoint: checkpoint/laether_64_cond/
class_json_path: data/lsd.json
use_fp16: true
fp16_scale_growth: 1e-3
sample_num: 4
image_size: 64
num_channels: 64
channel_mult: "1, 2, 3, 4"
class_cond: True
num_head_channels: 16
attention_resolutions: 16,8
num_res_blocks: 2
dropout: 0.0
learn_sigma: true
diffusion_steps: 1000
noise_schedule: linear
use_scale_shift_norm: True
resblock_updown: true
use_new_attention_order: False
num_heads: 4
num_heads_upsample: -1
use_checkpoint: False
schedule_sampler: uniform
timestep_respacing: ""
use_kl: False
predict_xstart: False
rescale_timesteps: False
rescale_learned_sigmas: False
clip_denoised: true
respace_interpolate: false
"""
TRAIN_256 = TRAIN_64
for _old, _new in (
        ("batch_size: 64", "batch_size: 8"), ("image_size: 64", "image_size: 256"),
        ("class_cond: True", "class_cond: false"),
        ("num_channels: 64", "num_channels: 128"), ('"1, 2, 3, 4"', '"1, 1, 2, 3, 4, 4"'),
        ("num_head_channels: 16", "num_head_channels: 32"), ("class_json_path: data/lsd.json", "class_json_path:"),
        ("resume_checkpoint: checkpoint/laether_64_cond/", "resume_checkpoint:"),
        ("lr_anneal_steps: 0", "lr_anneal_steps: 3000")):
    TRAIN_256 = TRAIN_256.replace(_old, _new)
