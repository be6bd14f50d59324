"""Splits: nothing straddles, every share gets its part, old assignments stay, the set's own split wins."""
import csv
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from core.data import formats, hashing, images, splits
from core.data.records import Dataset, Instance, Record
from core.errors import ConfigError, DataError
from core.seeding import rng
from tests.sets import defective, plate

CLASSES = ("spot", "scratch", "crack")
TEXTURES = np.eye(400, dtype=np.float16)


def record(name: str, labels: str = "", group: str = "", **fields) -> Record:
    """A record without a file; `labels` holds class names between blanks."""
    boxes = [(4.0 * k, 4.0, 4.0 * k + 3, 9.0) for k in range(len(labels.split()))]
    instances = tuple(Instance(label=label, box=box) for label, box in zip(labels.split(), boxes))
    return Record(image=Path(name), name=name, size=(100, 100), instances=instances, group=group, **fields)


def made(*records: Record) -> Dataset:
    return Dataset(root=Path("made"), format="coco", classes=CLASSES, records=tuple(records))


def prints_of(dataset: Dataset, same: dict[str, str] | None = None, near: dict[str, str] | None = None) -> dict:
    """Fingerprints by path; `same` gives a path another's bytes, `near` a picture like another's."""
    same, near = same or {}, near or {}
    paths = splits.paths(dataset)
    number = {str(path): k for k, path in enumerate(sorted(map(str, paths)))}
    found = {}
    for path in map(str, paths):
        file = same.get(path, path)
        picture = number.get(near.get(file, file), number[path])
        found[Path(path)] = hashing.Fingerprint(sha256=file, phash=int(rng(9, picture).integers(0, 2 ** 63)),
                                                texture=TEXTURES[picture])
    return found


def by_split(dataset: Dataset) -> dict[str, list[Record]]:
    shares = defaultdict(list)
    for one in dataset.records:
        shares[one.split].append(one)
    return shares


def check_nothing_straddles(dataset: Dataset, prints: dict) -> None:
    shares = by_split(dataset)
    assert set(shares) <= set(splits.NAMES)
    for first, second in combinations(shares.values(), 2):
        assert not {splits.group_of(one) for one in first} & {splits.group_of(one) for one in second}
        held = [[prints[path] for one in share for path in (one.image, one.clean) if path] for share in (first, second)]
        assert not {one.sha256 for one in held[0]} & {one.sha256 for one in held[1]}
        near = hashing.near_duplicates(held[0] + held[1])
        assert not [pair for pair in near if pair[0] < len(held[0]) <= pair[1]]


def random_set(seed: int) -> tuple[Dataset, dict]:
    """Groups of uneven size, classes of uneven frequency, good images, clean twins, equal and near-equal files."""
    draw = rng(11, seed)
    groups, records = int(draw.integers(8, 40)), []
    for k in range(int(draw.integers(30, 120))):
        labels = " ".join(draw.choice(CLASSES, int(draw.integers(0, 4)), p=(0.7, 0.25, 0.05)))
        clean = Path(f"clean{k}") if labels and draw.random() < 0.2 else None
        group = f"g{int(groups * draw.random() ** 2)}" if draw.random() < 0.8 else ""
        records.append(record(f"r{k:03d}", labels, group, clean=clean, verified=draw.random() > 0.05 or bool(labels)))
    dataset = made(*records)
    paths = [str(path) for path in splits.paths(dataset)]

    def pairs() -> dict[str, str]:
        chosen = draw.choice(paths, int(draw.integers(0, 8)), replace=False)
        return dict(zip(chosen[0::2], chosen[1::2]))
    return dataset, prints_of(dataset, same=pairs(), near=pairs())


@pytest.mark.parametrize("seed", range(60))
def test_random_sets(seed):
    dataset, prints = random_set(seed)
    found = splits.split(dataset, seed=seed, prints=prints)
    parted = splits.apply(dataset, found)
    assert [one.name for one in parted.records] == [one.name for one in dataset.records]
    check_nothing_straddles(parted, prints)
    for share in splits.NAMES:
        assert any(one.instances for one in by_split(parted)[share])
    shuffled = replace(dataset, records=tuple(dataset.records[k] for k in rng(1).permutation(len(dataset))))
    assert splits.split(shuffled, seed=seed, prints=prints) == found


@pytest.mark.parametrize("seed", range(20))
def test_added_images_leave_the_old_ones_where_they_were(seed, tmp_path):
    dataset, prints = random_set(seed)
    half = replace(dataset, records=dataset.records[:2 * len(dataset) // 3])
    if len(set(splits.joined_groups(half, prints).values())) < 3:
        pytest.skip("this draw joins nearly everything")
    old = splits.split(half, prints=prints)
    splits.save(tmp_path / "splits.json", old)
    kept = splits.load(tmp_path / "splits.json")
    assert kept == old
    joins = defaultdict(set)
    for group, unit in splits.joined_groups(dataset, prints).items():
        joins[unit] |= {old.groups[group]} if group in old.groups else set()
    if max(map(len, joins.values())) > 1:
        with pytest.raises(DataError, match="kept apart before"):
            splits.split(dataset, previous=kept, prints=prints)
        return
    new = splits.split(dataset, previous=kept, prints=prints)
    assert {group: new.groups[group] for group in old.groups} == old.groups
    check_nothing_straddles(splits.apply(dataset, new), prints)


def test_shares_and_classes_come_near_the_ratios():
    draw = rng(5)
    dataset = made(*(record(f"r{k:04d}", " ".join(draw.choice(CLASSES, int(draw.integers(0, 3)), p=(0.6, 0.3, 0.1))))
                     for k in range(600)))
    prints = {one.image: hashing.Fingerprint(sha256=one.name, phash=0, texture=TEXTURES[0] * 0)
              for one in dataset.records}
    shares = by_split(splits.apply(dataset, splits.split(dataset, prints=prints)))
    counts = {name: Counter(label for one in found for label in
                            [*(instance.label for instance in one.instances), "good" if one.is_good else "bad"])
              for name, found in shares.items()}
    for label in (*CLASSES, "good", "bad"):
        whole = sum(found[label] for found in counts.values())
        for name, ratio in zip(splits.NAMES, (0.7, 0.15, 0.15)):
            assert abs(counts[name][label] / whole - ratio) < 0.03, (label, name)


def test_the_seed_counts():
    dataset = made(*(record(f"r{k}", "spot") for k in range(30)))
    found = [splits.split(dataset, seed=seed, prints=prints_of(dataset)).groups for seed in (0, 1)]
    assert found[0] != found[1]


def test_the_largest_group_goes_where_there_is_room():
    dataset = made(*(record(f"big{k}", "spot", "big") for k in range(10)),
                   *(record(f"r{k}", "spot") for k in range(10)))
    shares = by_split(splits.apply(dataset, splits.split(dataset, prints=prints_of(dataset))))
    assert {splits.group_of(one) for one in shares["train"]} >= {"big"}
    assert [len(shares[name]) for name in splits.NAMES] == [14, 3, 3]


def test_defects_of_a_class_that_only_one_group_has_are_for_learning():
    dataset = made(record("lone", "crack"), *(record(f"r{k}", "spot") for k in range(12)))
    assert splits.split(dataset, prints=prints_of(dataset)).groups["lone"] == "train"


def test_the_only_holder_of_a_class_is_not_moved_away_from_learning():
    dataset = made(record("a", "spot crack"), record("b", "spot"), record("c", "spot"))
    for seed in range(8):
        found = splits.split(dataset, seed=seed, prints=prints_of(dataset)).groups
        assert found["a"] == "train"
        assert set(found.values()) == set(splits.NAMES)


def test_three_groups_with_defects_are_one_for_each_share():
    for good in (0, 20):
        dataset = made(record("a", "spot"), record("b", "spot spot spot"), record("c", "crack"),
                       *(record(f"good{k}") for k in range(good)))
        found = splits.split(dataset, prints=prints_of(dataset)).groups
        assert {found[name] for name in "abc"} == set(splits.NAMES)


def test_too_few_groups_with_defects_is_an_error_that_says_how_many():
    dataset = made(record("a", "spot"), record("b", "spot"), record("c", "spot"), record("good"))
    with pytest.raises(DataError, match="got 2 .of 3 groups; the others share pictures") as raised:
        splits.split(dataset, prints=prints_of(dataset, near={"b": "a"}))
    assert "\n" not in str(raised.value)
    apart = splits.split(dataset, prints=prints_of(dataset, near={"b": "a"}), merge_near=False)
    assert {apart.groups[name] for name in "abc"} == set(splits.NAMES)
    two = splits.split(dataset, ratios=(0.8, 0.2, 0), prints=prints_of(dataset, same={"b": "a"}))
    assert set(two.groups.values()) == {"train", "val"}
    assert two.groups["a"] == two.groups["b"] != two.groups["c"]


def test_a_set_without_defects_is_split_too():
    dataset = made(*(record(f"good{k}") for k in range(20)))
    found = Counter(splits.split(dataset, prints=prints_of(dataset)).groups.values())
    assert found == {"train": 14, "val": 3, "test": 3}


def test_the_sets_own_split_wins_and_the_rest_is_shared_out_round_it():
    own = [record(f"t{k}", "spot", split="test") for k in range(3)] + [record("odd", "spot", "g", split="val")]
    dataset = made(*own, record("beside", "spot", "g"), *(record(f"r{k}", "spot") for k in range(16)))
    prints = prints_of(dataset, same={"r0": "t0"})
    parted = splits.apply(dataset, splits.split(dataset, prints=prints))
    place = {one.name: one.split for one in parted.records}
    assert [place[name] for name in ("t0", "t1", "t2", "r0", "odd", "beside")] == ["test"] * 4 + ["val"] * 2
    assert [len(by_split(parted)[name]) for name in ("train", "val")] == [14, 3]
    check_nothing_straddles(parted, prints)


def test_a_set_that_parts_its_own_groups_is_left_as_it_is():
    dataset = made(record("a", "spot", "g", split="train"), record("b", "spot", "g", split="test"))
    parted = splits.apply(dataset, splits.split(dataset, prints=prints_of(dataset)))
    assert [one.split for one in parted.records] == ["train", "test"]


def test_renamed_images_keep_their_places():
    dataset = made(*(record(f"r{k:02d}", "spot") for k in range(20)))
    old = splits.split(dataset, prints=prints_of(dataset))
    renamed = made(*(replace(one, name=f"new {one.name}", image=Path(f"new {one.name}")) for one in dataset.records))
    known = prints_of(dataset)
    prints = {one.image: known[Path(one.name[4:])] for one in renamed.records}
    new = splits.split(renamed, previous=old, prints=prints)
    assert {group: new.groups[f"new {group}"] for group in old.groups} == old.groups


def test_a_new_image_joins_the_group_that_it_copies():
    dataset = made(*(record(f"r{k:02d}", "spot") for k in range(20)))
    old = splits.split(dataset, prints=prints_of(dataset))
    for place in splits.NAMES:
        copied = next(group for group, found in old.groups.items() if found == place)
        more = made(*dataset.records, record("a copy", "spot"))
        new = splits.split(more, previous=old, prints=prints_of(more, near={"a copy": copied}))
        assert new.groups["a copy"] == place


def test_folds_rotate_all_but_the_test_groups():
    dataset, prints = random_set(3)
    found = splits.split(dataset, folds=4, prints=prints)
    assert found.fold_count == 4
    validated = Counter()
    for fold in range(4):
        parted = splits.apply(dataset, found, fold)
        check_nothing_straddles(parted, prints)
        validated.update(one.name for one in by_split(parted)["val"])
        assert {one.name for one in by_split(parted)["test"]} == {
            one.name for one in dataset.records if found.groups[splits.group_of(one)] == "test"}
    outside = [one.name for one in dataset.records if found.groups[splits.group_of(one)] != "test"]
    assert validated == Counter(outside)
    again = splits.split(dataset, folds=4, prints=prints, previous=found)
    assert again == found
    with pytest.raises(ConfigError, match="got 4"):
        splits.apply(dataset, found, 4)


def test_what_was_asked_for_otherwise_before_is_refused():
    dataset = made(*(record(f"r{k}", "spot") for k in range(9)))
    prints = prints_of(dataset)
    old = splits.split(dataset, prints=prints)
    for asked in ({"seed": 1}, {"ratios": (0.5, 0.25, 0.25)}, {"folds": 3}):
        with pytest.raises(ConfigError, match="split anew"):
            splits.split(dataset, previous=old, prints=prints, **asked)
    for ratios in ((0.5, 0.5), (0.9, 0.2, -0.1), (0.5, 0.2, 0.2)):
        with pytest.raises(ConfigError, match="ratios"):
            splits.split(dataset, ratios=ratios, prints=prints)
    with pytest.raises(ConfigError, match="folds"):
        splits.split(dataset, folds=1, prints=prints)


def test_files_of_splits_that_are_none_and_groups_that_are_not_in_them(tmp_path):
    path = tmp_path / "splits.json"
    with pytest.raises(DataError, match="no such file"):
        splits.load(path)
    for content in ("{", "[]", '{"seed": 0}', '{"version": 1, "seed": 0, "ratios": {"train": 1, "val": 0, "test": 0}, '
                    '"groups": {"a": "training"}, "folds": {}, "hashes": {}}'):
        path.write_text(content)
        with pytest.raises(DataError, match="splits.json"):
            splits.load(path)
    with pytest.raises(DataError, match="not in the splits, got 'r'"):
        splits.apply(made(record("r")), splits.Splits(seed=0, ratios=(1, 0, 0), groups={}))


def test_real_files_twice_under_other_names_and_near_copies_stay_together(tmp_path):
    records = []
    for k in range(9):
        images.write_image(tmp_path / f"{k}.png", defective(k)[0])
        records.append(replace(record(f"{k}", "spot"), image=tmp_path / f"{k}.png", size=(112, 96)))
    (tmp_path / "339.png").write_bytes((tmp_path / "1.png").read_bytes())
    images.write_image(tmp_path / "brighter.png", np.minimum(defective(2)[0].astype(int) + 9, 255).astype(np.uint8))
    images.write_image(tmp_path / "clean.png", plate(3))
    records += [replace(record("339", "spot"), image=tmp_path / "339.png", size=(112, 96)),
                replace(record("brighter", "spot"), image=tmp_path / "brighter.png", size=(112, 96)),
                replace(record("good"), image=tmp_path / "clean.png", size=(112, 96))]
    records[3] = replace(records[3], clean=tmp_path / "clean.png")
    dataset = made(*records)
    for seed in range(6):
        found = splits.split(dataset, seed=seed).groups
        assert found["1"] == found["339"]
        assert found["2"] == found["brighter"]
        assert found["3"] == found["good"]
        assert set(found.values()) == set(splits.NAMES)


def test_exposures_of_one_magnetic_tile_stay_together(shared_data):
    dataset = formats.read(shared_data / "magnetic_tile", "masks")
    prints = hashing.fingerprints(splits.paths(dataset))
    assert len(set(splits.joined_groups(dataset, prints).values())) == 102
    parted = splits.apply(dataset, splits.split(dataset, prints=prints))
    with open(shared_data / "magnetic_tile" / "index.csv", newline="") as file:
        tile = {row["image"]: row["tile_group"] for row in csv.DictReader(file)}
    tiles = {name: {tile[one.image.relative_to(dataset.root).as_posix()] for one in found}
             for name, found in by_split(parted).items()}
    assert set(tiles) == set(splits.NAMES)
    assert sum(map(len, tiles.values())) == len(set.union(*tiles.values())) == 102
    check_nothing_straddles(parted, prints)
    for share in by_split(parted).values():
        assert {instance.label for one in share for instance in one.instances} == set(dataset.classes)


def test_boards_that_are_too_few_say_so(shared_data):
    dataset = formats.read(shared_data / "pku_market_pcb", "voc")
    with pytest.raises(DataError, match="got 2"):
        splits.split(dataset)
