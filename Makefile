# Every target prepares .venv from the requirements itself. PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
RUN := .venv/bin/python

.PHONY: demo test lint bench iopaint
.DELETE_ON_ERROR:

demo: .venv/ready
	$(RUN) scripts/make_synthetic.py --kind pcb --count 60 --seed 0 --output datasets/demo-pcb --write coco
	$(RUN) scripts/augment.py --data datasets/demo-pcb --method midg --count 60 --output runs/demo --set midg.steps=1000
	@echo "Open the report: runs/demo/report.html"

test: .venv/ready
	$(RUN) -m pytest

lint: .venv/ready
	$(RUN) -m ruff check .

bench: .venv/ready
	$(RUN) scripts/bench.py

# The check that torch and torchvision fit each other: operators are missing where they do not.
.venv/ready: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(RUN) -c "import torch, torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)"
	touch $@

# iopaint is apart: it needs old releases of what the project uses. IOPAINT_PYTHON=python3.11 chooses its interpreter.
IOPAINT_PYTHON ?= $(PYTHON)
iopaint: .venv-iopaint/ready

.venv-iopaint/ready: requirements-iopaint.txt
	$(IOPAINT_PYTHON) -c "import sys; v = sys.version_info[:2]; (3, 10) <= v < (3, 13) or sys.exit('make iopaint: it runs on Python 3.10 to 3.12, got %d.%d. Say IOPAINT_PYTHON=python3.11' % v)"
	$(IOPAINT_PYTHON) -m venv .venv-iopaint
	.venv-iopaint/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-iopaint.txt
	.venv-iopaint/bin/python -W ignore -c "import iopaint.batch_processing"
	touch $@
