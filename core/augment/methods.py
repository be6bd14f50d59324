"""The generators by name; each is imported when chosen."""
from importlib import import_module

from ..errors import ConfigError, did_you_mean

# name -> (module:Class, a DefectGenerator; what it does)
METHODS = {
    "copypaste": ("core.augment.copypaste:CopyPaste", "a real defect, turned, scaled, colour-matched and blended in"),
    "midg": ("midg.generator:MidgGenerator", "edges, then a defect, drawn by two networks that it trains itself"),
    "crg": ("crg.generator:CrgGenerator",
            "painted by two diffusion models that it trains itself; slow without a GPU, new"),
}


def find(name: str):
    """The generator's class. ConfigError names the nearest valid one."""
    if name not in METHODS:
        listed = "\n".join(f"  {known:<12} {what}" for known, (_, what) in METHODS.items())
        raise ConfigError(f"--method: no such generator, got '{name}'. {did_you_mean(name, METHODS)}One of\n{listed}")
    module, _, attribute = METHODS[name][0].partition(":")
    return getattr(import_module(module), attribute)
