"""Small networks with first weights, as a Painter: what they paint is noise, where and how they paint it is not."""
import torch

from midg import runs
from midg.infer import Painter, without_norms
from midg.settings import DataConfig, DefectNetworkConfig, EdgeNetworkConfig


def untrained(classes: tuple[str, ...] = ("pit", "crack"), *, edge: bool = True, blend: bool = True,
              size_px: int = 48) -> Painter:
    torch.manual_seed(0)
    count = len(classes) if len(classes) > 1 else 0
    forms = EdgeNetworkConfig(width=4), DefectNetworkConfig(width=4, blend=blend)
    networks = runs.edge_generator(forms[0], count), runs.defect_generator(forms[1], count)
    parts = []
    for form, network in zip(forms, networks):
        for table in (module for module in network.modules() if isinstance(module, torch.nn.Embedding)):
            torch.nn.init.normal_(table.weight)             # or the classes are alike until they are trained
        state = without_norms(network.eval()).state_dict()
        parts.append((form, {name: values.numpy() for name, values in state.items()}))
    data = DataConfig(size_px=size_px, masks="shape", sigma=1.0)
    return Painter(classes, data, parts[0] if edge else None, parts[1], device="cpu")
