"""The products that are inspected, as a config declares them: where each one's images lie and how they are split."""
import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from core.errors import ConfigError, did_you_mean


class Section(BaseModel):
    """Strict and unchangeable: an unknown key is an error."""
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Product(Section):
    """One family of parts: folders below `data`/images and `data`/labels. Products share nothing."""
    good: tuple[str, ...] = Field((), description="folders of good images; they need no label files")
    defect: tuple[str, ...] = Field(min_length=1, description="folders of labelled defective images")
    rework: tuple[str, ...] = Field((), description="folders for trying rework rules on; never learned from")
    classes: tuple[str, ...] | None = Field(None, description="the labels that count, in order; null: those found")
    aliases: dict[str, str] = Field({}, description="label in the files: the class that it stands for")

    @model_validator(mode="after")
    def _apart(self) -> "Product":
        folders = [*self.good, *self.defect, *self.rework]
        twice = sorted({name for name in folders if folders.count(name) > 1})
        if twice:
            raise ValueError(f"'good', 'defect' and 'rework' must be different folders, got {', '.join(twice)} twice")
        return self


class ProductsConfig(Section):
    """All products, and what their preparation has in common."""
    data: Path = Field(description="folder with images/FOLDER and labels/FOLDER")
    output: Path = Field(Path("output"), description="each product gets a folder there: data, weights, results")
    products: dict[str, Product] = Field(min_length=1, description="name: its folders")
    images: Literal["png", "copy"] = Field("png", description="png: written anew, lossless; copy: the files' own bytes")
    group_by: Literal["name", "folder"] = Field(
        "name", description="what one photographed part is: the file's name without its tile's place, or its folder")
    group_regex: str | None = Field(None, description="finds the part in an image's path, as the named group 'part'")
    empty_defect: Literal["exclude", "good"] = Field(
        "exclude", description="an image of a defect folder whose label file has no shape")
    ratios: tuple[float, float, float] = Field((0.7, 0.15, 0.15), description="train, val, test, by part")
    seed: int = Field(0, ge=0)
    folds: int | None = Field(None, ge=2, description="also number K rotations of train and val")

    @field_validator("products")
    @classmethod
    def _names(cls, products: dict[str, Product]) -> dict[str, Product]:
        odd = [name for name in products if not re.fullmatch(r"[\w.-]+", name) or name.startswith(".")]
        if odd:
            raise ValueError(f"'products' are names of folders, letters, digits, . _ - only, got {odd[0]!r}")
        return products

    @field_validator("group_regex")
    @classmethod
    def _names_a_part(cls, pattern: str | None) -> str | None:
        try:
            named = pattern is None or "part" in re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"'group_regex' must be a regular expression, got {pattern!r} ({error})") from error
        if not named:
            raise ValueError(f"'group_regex' must hold (?P<part>...), got {pattern!r}")
        return pattern

    def chosen(self, name: str) -> Product:
        """The product of that name. ConfigError: there is none."""
        if name not in self.products:
            raise ConfigError(f"--model {name}: no such product. {did_you_mean(name, self.products)}"
                              f"The config has {', '.join(self.products)}")
        return self.products[name]
