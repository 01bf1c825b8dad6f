"""The samples of a category by the places of its files: train and test, one folder a kind, and where masks lie.

In an official dataset other files are ignored. In a folder of one's own every file gets a role, or is refused.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from harness.data import kinds
from harness.data.files import (
    IMAGE_EXTENSIONS,
    Listing,
    counted,
    list_files,
    nfc,
    one_of,
    plain,
    some_names,
    subfolders,
)
from harness.data.split import ANOMALOUS, NORMAL, Sample, by_path, spread
from harness.errors import DataError

GOOD = "good"
"""`Sample.defect` of a normal image, whatever its folder is called."""
SAMPLED = 5
"""Images of a folder that are decoded at most to tell masks from photographs."""
_READ_AS = {"train": "good images", "good": "good test images", "defect": "defective images"}

Parts = tuple[str, ...]
Colours = Callable[[str], int]
"""How many colours the image of that path has: `harness.data.pixels.colours_of`."""


@dataclass(frozen=True)
class Found:
    """The samples of one category as its folders hold them."""

    root: Path
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    expected: str
    notes: tuple[str, ...] = field(default=())
    good_masks: tuple[str, ...] = ()
    """Masks of good images, which are not read and must be empty."""
    not_read: tuple[str, ...] = ()
    """All other files that are not read; a note counts each."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All of them, training images first."""
        return (*self.train, *self.test)


def find_official(root: Path, category: str, good: str) -> Found:
    """Read MVTec AD's and BTAD's layout: `train/<good>`, `test/<good>`, `test/<defect>`, `ground_truth/<defect>`.

    The letters' case of folders does not matter. A mask is called as its image, or `<stem>_mask`, with any extension.

    Raises:
        DataError: images where none can be meant, two folders with the same meaning, or masks that cannot be paired.
    """
    layout = _Layout(root, category, (good,), lambda _: 0, own=False)
    folders = [layout.single((name,)) for name in ("train", "test", "ground_truth")]
    return layout.found(Listing([image for folder in folders if folder for image in list_files(root, folder).images]))


def holds_layout(folder: Path) -> bool:
    """Tell whether a folder of one's own is laid out in one of the two ways, by the names of its folders alone."""
    return bool(one_of(subfolders(folder), kinds.GOOD_NAMES)) or _has_train(folder, kinds.GOOD_NAMES)


def is_category(folder: Path) -> bool:
    """Tell whether a folder of one's own is meant as one category, even where its layout is not complete."""
    return bool(one_of(subfolders(folder), (*kinds.GOOD_NAMES, *kinds.SPLIT_NAMES)))


def find_own(root: Path, category: str, colours: Colours) -> Found:
    """Read a folder of one's own, `root/category` or, where that is not laid out, `root` itself.

    Raises:
        DataError: a file that can have no role, or masks that cannot be told from photographs or paired.
    """
    if is_category(root) and category.lower() in kinds.SPLIT_NAMES:
        raise DataError(f"{category}: is a part of the category {root}; give dataset.root={root.parent}")
    base = category if holds_layout(root / category) or not holds_layout(root) else ""
    layout = _Layout(root, base, kinds.GOOD_NAMES, colours, own=True)
    return layout.found(list_files(root, base))


def _has_train(folder: Path, good: Collection[str]) -> bool:
    return any(one_of(subfolders(folder / name), good) for name in one_of(subfolders(folder), ("train",)))


@dataclass(frozen=True)
class _Role:
    part: str
    """train, good (test) or defect."""
    defect: str = GOOD
    unusual: str = ""
    """The folder, where its name alone does not say that its images are what they are read as."""


class _Layout:
    def __init__(self, root: Path, base: str, good: Sequence[str], colours: Colours, *, own: bool) -> None:
        self.root, self.base, self.good, self.colours, self.own = root, base, good, colours, own
        self.in_train = not own or _has_train(root / base, good)
        """train and test folders, rather than one folder a kind."""
        self.depth = 2 if self.in_train else 1
        """Folders, below the category's, down to those of the defect types."""
        self.train = self.single(("train",) if self.in_train else good)
        if self.in_train:
            self.single(("test",))
        self.roles: dict[str, _Role] = {}
        self.pairs: dict[str, str] = {}
        self.good_masks: list[str] = []
        self.lost: list[str] = []

    def found(self, listing: Listing) -> Found:
        """Give every file a role."""
        places = [(self.train or self.path("train")) + f"/{name}" for name in self.good]
        if not self.in_train:
            places = [self.path(name) for name in (*self.good, "train/good")]
        found = Found(self.root, (), (), f"{' or '.join(places)} ({', '.join(sorted(IMAGE_EXTENSIONS))})")
        if self.train is None and self.own:
            return replace(found, not_read=tuple(sorted(listing.names)))
        images, masks = self._parted(sorted(listing.images))
        images, twins = _part_twins(images, self.colours) if self.own else (images, {})
        self.roles = {image: self._role(image) for image in images}
        self._pair(masks)
        self._pair_twins(twins)
        samples: dict[str, list[Sample]] = {"train": [], "good": [], "defect": []}
        for image, role in self.roles.items():
            label = ANOMALOUS if role.part == "defect" else NORMAL
            samples[role.part].append(Sample(image, label, role.defect, self.pairs.get(image)))
        train, test = by_path(samples["train"]), by_path([*samples["good"], *samples["defect"]])
        found = replace(found, train=train, test=test, good_masks=tuple(self.good_masks))
        if not self.own:
            return found
        self._check_kinds(found)
        notes = (*self._role_notes(), *self._mask_notes(), *self._name_notes(images), *_file_notes(listing))
        return replace(found, notes=notes, not_read=(*self.lost, *listing.unread, *listing.other, *listing.system))

    def _role_notes(self) -> list[str]:
        """Return notes on images that only their folder makes good or defective, where its name does not say so."""
        unusual = Counter((role.unusual, role.part) for role in self.roles.values() if role.unusual)
        notes = [f"{top}: {count} images read as {_READ_AS[part]}" for (top, part), count in sorted(unusual.items())]
        undecided: Counter[str] = Counter()
        below: dict[str, Counter[str]] = {}
        for image in self._defective():
            if self.roles[image].unusual or image in self.pairs:
                continue
            top = self.parts(image)[: self.depth]
            if kinds.is_undecided(top[-1]):
                undecided[self.path(*top)] += 1
            elif inner := self._below(image, top):
                below.setdefault(self.path(*top), Counter())["/".join(inner)] += 1
        notes += [f"{where}: {count} images read as defective images" for where, count in undecided.items()]
        for where, inside in below.items():
            folders = f"{len(inside)} sub-folders ({some_names(inside)})"
            notes.append(f"{where}: {inside.total()} images of {folders} are read as defective images")
        return notes

    def _mask_notes(self) -> list[str]:
        beside = [
            mask for image, mask in self.pairs.items() if PurePosixPath(mask).parent == PurePosixPath(image).parent
        ]
        return [
            *counted(beside, "masks lie beside their images"),
            *counted(self.good_masks, "masks of good images, which must be empty, are not used"),
            *counted(self.lost, "masks belong to no image and are not read"),
        ]

    def _name_notes(self, images: Sequence[str]) -> list[str]:
        """Return notes where names say that images show the same part: one saved twice, or several kinds of image."""
        types: dict[str, dict[str, str]] = {}
        doubled = []
        for image in images:
            top = self.path(*self.parts(image)[: self.depth])
            name = PurePosixPath(image).relative_to(top)
            named = types.setdefault(top, {})
            if (stem := nfc(str(name.with_suffix("")))) in named:
                doubled.append(image)
            named[stem] = str(name)
        notes = counted(doubled, "images have the name of another image, but for the extension")
        found = {top: groups for top, named in types.items() if (groups := kinds.of_one_part(named))}
        if found:
            parts = [group for groups in found.values() for group in groups]
            top, (first, *_) = next(iter(found.items()))
            notes.append(
                f"{sum(map(len, parts))} images in {some_names(found)} share the names of {len(parts)} parts "
                f"({some_names([types[top][stem] for stem in first])}): if they are not photographs of their own, move "
                "them out"
            )
        return notes

    def _defective(self) -> list[str]:
        return [image for image, role in self.roles.items() if role.part == "defect"]

    def path(self, *parts: str) -> str:
        """Return a path relative to the root, from one relative to the category."""
        return str(PurePosixPath(self.base, *parts))

    def parts(self, path: str) -> Parts:
        """Return the parts of a path below the category."""
        return PurePosixPath(path).relative_to(self.base).parts

    def single(self, accepted: Collection[str]) -> str | None:
        """Find the one folder of the category whose name is, in any case, accepted; None for none; refuse two."""
        names = one_of(subfolders(self.root / self.base), accepted)
        if len(names) > 1:
            both = " and ".join(self.path(name) for name in names[:2])
            raise DataError(f"{both}: two folders with the same meaning; merge them or rename one")
        return self.path(names[0]) if names else None

    def _parted(self, paths: Iterable[str]) -> tuple[list[str], dict[str, Parts]]:
        """Return images, and masks with the parts of the folder of masks that each lies in."""
        accepted = kinds.MASK_NAMES if self.own else kinds.MASK_NAMES[:1]
        images, masks = [], {}
        for path in paths:
            folders = self.parts(path)[:-1]
            names = [plain(name) for name in (folders if self.own else folders[:1])]
            place = next((i for i, name in enumerate(names) if name in accepted), None)
            if place is None:
                images.append(path)
            else:
                masks[path] = folders[: place + 1]
        return images, masks

    def _role(self, image: str) -> _Role:
        folders = self.parts(image)[:-1]
        for depth, name in enumerate(folders) if self.own else ():
            if kinds.is_masks(name):
                wanted = " or ".join(kinds.MASK_NAMES[:2])
                raise DataError(
                    f"{self.path(*folders[: depth + 1])}: if it holds masks, call it {wanted}; if not, rename it"
                )
        return self._role_in_train(image, folders) if self.in_train else self._role_in_plain(image, folders)

    def _role_in_train(self, image: str, folders: Parts) -> _Role:
        place = plain(folders[0]) if folders else ""
        if place not in {"train", "test", *kinds.VALIDATION_NAMES}:
            where = self.path(*folders[:1]) if folders else image
            if folders and self.colours(image) > 0:
                raise DataError(
                    f"{where}: lies beside {self.train} and looks like masks; these belong in "
                    f"{self.path('ground_truth')}, in a folder for each defect type"
                )
            raise DataError(
                f"{where}: lies beside {self.train} and is not read; move it into {self.path('test')} (a folder for "
                "each defect type, and good) or out of the category"
            )
        if len(folders) == 1:
            raise DataError(f"{image}: lies beside the folders of {self.path(*folders)}; move it into one")
        if plain(folders[1]) in self.good:
            aside = self._check_inner(image, folders[2:], good=True)
            if place == "train":
                return _Role("train", unusual=aside)
            return _Role("good", unusual=aside if place == "test" else self.path(*folders[:2]))
        if place != "test":
            what = "training" if place == "train" else "validation"
            wanted = " or ".join(self.path(folders[0], name) for name in self.good)
            raise DataError(
                f"{image}: {what} images must be normal and lie in {wanted}; move it to {self.path('test')}"
            )
        return self._role_in_test(image, folders[:2], folders[2:])

    def _role_in_plain(self, image: str, folders: Parts) -> _Role:
        if not folders:
            raise DataError(f"{image}: lies beside {self.train}; move it into that folder or a defect type's")
        name, inner = folders[0], folders[1:]
        if plain(name) in self.good:
            return _Role("train", unusual=self._check_inner(image, inner, good=True))
        if plain(name) in {"train", "test"}:
            raise DataError(
                f"{self.path(name)}: lies beside {self.train}; use either {self.train} or {self.path('train/good')}, "
                "not both"
            )
        return self._role_in_test(image, folders[:1], inner)

    def _role_in_test(self, image: str, folder: Parts, inner: Parts) -> _Role:
        where, name = self.path(*folder), folder[-1]
        if self.own and kinds.is_good(name):
            if not {"train", "training"}.isdisjoint(kinds.words(name)):
                raise DataError(f"{where}: has the name of training images; move its images to {self.train}")
            self._check_inner(image, inner, good=True)
            return _Role("good", unusual=where)
        if self.own and kinds.is_no_type(name):
            raise DataError(f"{where}: its name is not a defect type; move it out of the category, or rename it")
        aside = self._check_inner(image, inner, good=False)
        return _Role("defect", name, aside or (where if self.own and kinds.is_aside(name) else ""))

    def _check_inner(self, image: str, inner: Parts, *, good: bool) -> str:
        """Refuse a folder of the other kind among good or defective images; return a folder that seems put aside."""
        for name in inner:
            other = self.own and (kinds.is_faulty(name) if good else kinds.is_good(name))
            if other or (not good and plain(name) in self.good):
                what = "defective images below good ones" if good else "good images below a defect type"
                raise DataError(f"{image}: {what}; move them out")
        return str(PurePosixPath(image).parent) if self.own and any(kinds.is_aside(name) for name in inner) else ""

    def _below(self, path: str, parent: Parts) -> Parts:
        """Return the folders between `parent` and a file, in NFC; without those that only say that images lie there."""
        folders = [nfc(name) for name in self.parts(path)[len(parent) : -1]]
        return tuple(name for name in folders if not self.own or plain(name) not in kinds.PHOTO_NAMES)

    def _by_mask(self, parents: Collection[Parts]) -> dict[tuple[Parts, Parts, str], list[str]]:
        """Map places of masks to images: the parent of the folder of masks, the folders in that one, the stem.

        Below ground_truth of the category the folders are those of the images, with or without train and test.
        """
        places: dict[tuple[Parts, Parts, str], list[str]] = {}
        for parent in parents:
            for image in self.roles:
                if self.parts(image)[: len(parent)] == parent:
                    folders, stem = self._below(image, parent), nfc(PurePosixPath(image).stem)
                    for below in {folders, folders[1:]} if not parent and self.in_train else {folders}:
                        places.setdefault((parent, _folded(below), stem), []).append(image)
        return places

    def _pair(self, masks: Mapping[str, Parts]) -> None:
        by_mask = self._by_mask({folder[:-1] for folder in masks.values()})
        for mask, folder in masks.items():
            below = self._below(mask, folder)
            hits = (by_mask.get((folder[:-1], _folded(below), stem)) for stem in kinds.mask_stems(mask))
            owners = next((hit for hit in hits if hit), [])
            # Types that differ in the letters' case alone.
            owners = [o for o in owners if self._below(o, folder[:-1])[-len(below) :] == below] or owners
            if not owners:
                self.lost.append(mask)
            elif len(owners) > 1 and any(self.roles[owner].part == "defect" for owner in owners):
                raise DataError(
                    f"{mask}: is the mask of {owners[0]} and of {owners[1]}; rename one image, or give each defect "
                    "type a folder of masks with its own name"
                )
            else:
                self._give(mask, owners[0])
        self._check_pairs(self._defective())

    def _give(self, mask: str, image: str) -> None:
        if self.roles[image].part != "defect":
            self.good_masks.append(mask)
        elif image in self.pairs:
            raise DataError(f"{image}: has two masks, {self.pairs[image]} and {mask}; remove one")
        else:
            self.pairs[image] = mask

    def _check_pairs(self, defective: Sequence[str]) -> None:
        """Refuse masks of which none belongs to a defective image and, in an official dataset, masks among images."""
        there = {str(PurePosixPath(image).with_suffix("")) for image in defective if not self.own}
        for image in defective:
            stem = str(PurePosixPath(image).with_suffix(""))
            if stem.endswith("_mask") and stem.removesuffix("_mask") in there:
                wanted = self.path("ground_truth", self.roles[image].defect)
                raise DataError(f"{image}: a mask among the images; move it to {wanted}")
        if self.lost and defective and not self.pairs:
            first = defective[0]
            folders = self._below(first, self.parts(first)[: self.depth - 1])
            wanted = self.path("ground_truth", *folders, f"{PurePosixPath(first).stem}_mask.png")
            raise DataError(
                f"{self.lost[0]}: none of the {len(self.lost)} masks belongs to a defective image; the mask of {first} "
                f"belongs in {wanted}"
            )

    def _pair_twins(self, twins: Mapping[str, str]) -> None:
        for image, twin in twins.items():
            self._give(twin, image)
        bare = [image for image in self._defective() if image not in self.pairs]
        for image in [image for image in twins if bare and self.roles[image].part == "defect"][:1]:
            raise DataError(
                f"{twins[image]}: looks like the mask of {image}, but {len(bare)} defective images have none, such as "
                f"{bare[0]}; add them, or put all masks into {self.path('ground_truth')}"
            )

    def _check_kinds(self, found: Found) -> None:
        """Refuse masks among photographs, and photographs in folders of masks."""
        if not any(self.colours(sample.path) == 0 for sample in spread(found.train, SAMPLED)):
            return
        folders: dict[PurePosixPath, list[str]] = {}
        for sample in (*found.train, *found.test):
            folders.setdefault(PurePosixPath(sample.path).parent, []).append(sample.path)

        def size(image: str) -> tuple[int, str]:
            path = found.root / image
            return (path.stat().st_size if path.exists() else 0, image)

        for folder, images in folders.items():
            for image in sorted(images, key=size)[:SAMPLED]:  # those of fewest bytes are likeliest to be masks
                if self.colours(image) > 1:
                    raise DataError(
                        f"{image}: looks like a mask among the photographs of {folder}; masks belong in "
                        f"{self.path('ground_truth')}, in a folder for each defect type, or each beside its image"
                    )
        for image in spread(self.lost, SAMPLED):
            if self.colours(image) == 0:
                raise DataError(
                    f"{image}: looks like a photograph in a folder with the name of masks; rename the folder, or "
                    "remove the image"
                )


def _part_twins(images: Sequence[str], colours: Colours) -> tuple[list[str], dict[str, str]]:
    """Return photographs, and the masks beside them: `x.png` beside `x.jpg`, `x_mask.png` beside `x.png`."""
    stems = {(PurePosixPath(image).parent, nfc(PurePosixPath(image).stem)) for image in images}
    folders: dict[PurePosixPath, dict[str, list[str]]] = {}
    for image in images:
        folder = PurePosixPath(image).parent
        own, *shorter = kinds.mask_stems(image)
        stem = next((stem for stem in reversed(shorter) if (folder, stem) in stems), own)
        folders.setdefault(folder, {}).setdefault(stem, []).append(image)
    twins: dict[str, str] = {}
    for groups in folders.values():
        twins |= _twins_of(sorted(group for group in groups.values() if len(group) > 1), colours)
    masks = set(twins.values())
    return [image for image in images if image not in masks], twins


def _twins_of(groups: Sequence[list[str]], colours: Colours) -> dict[str, str]:
    """Return masks by image, of one folder's groups of files whose names say that they belong together."""
    parted = [sorted(group, key=lambda image: colours(image) > 0) for group in groups]
    if not any(colours(first) == 0 < colours(last) for first, *_, last in parted):
        return {}
    twins = {}
    for photo, *between, mask in parted:
        if between or not colours(photo) == 0 < colours(mask):
            raise DataError(
                f"{mask}: may be the mask of {photo}, but the contents of all {len(groups)} such pairs do not show "
                "which file is the mask; put masks into a folder ground_truth of the category"
            )
        twins[photo] = mask
    return twins


def _folded(folders: Parts) -> Parts:
    return tuple(name.strip().casefold() for name in folders)


def _file_notes(listing: Listing) -> list[str]:
    notes = []
    if listing.unread:
        suffixes = Counter(PurePosixPath(name).suffix.lower() for name in listing.unread)
        each = ", ".join(f"{count} {suffix}" for suffix, count in sorted(suffixes.items()))
        notes.append(f"{len(listing.unread)} images in formats that are not read: {each}; save them as PNG or JPEG")
    notes += counted(listing.other, "other files are not read")
    return [*notes, *counted(listing.system, "hidden or system files are not read")]
