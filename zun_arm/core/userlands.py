"""Which image a launch means, what its programs are, and whether this board runs them."""

from __future__ import annotations

import re

from zun_arm.core.model import Execution, Image, Run, Sandbox
from zun_arm.core.platforms import ARM64, ARM_V7, PLATFORMS, Isa, parse_platform
from zun_arm.core.policy import Host
from zun_arm.errors import BadImage, BadInput, CannotRun, NotFound

#: Images made by ``zun-arm image build`` are called ``zun-arm/<recipe>:<tag of the platform>``.
REPOSITORY = "zun-arm"

_IMAGE_NAME = re.compile(
    r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
)
_BETTER_FIRST = (Execution.NATIVE, Execution.NATIVE_COMPAT32, Execution.EMULATED)


def image_name(recipe: str, platform: str) -> str:
    """The name a built image gets, as in ``zun-arm/tiny:arm-v7``."""
    return f"{REPOSITORY}/{recipe}:{platform.removeprefix('linux/').replace('/', '-')}"


def find_image(host: Host, reference: str, wanted: str | None) -> tuple[Image, str, Isa]:
    """The image a user means, its platform and its instruction set, both measured from its programs.

    ``reference`` is an image's name or id, or the name of a recipe; with several platforms of a recipe there, the one
    ``wanted``, or else the one this board runs best. :class:`NotFound`, :class:`BadImage`, :class:`CannotRun`.
    """
    platform = parse_platform(wanted) if wanted else None
    others: list[str] = []
    for name in (reference, *_recipe_names(host, reference, platform)):
        try:
            image = host.engine.image(name)
        except NotFound:
            continue
        found, isa = measured(host, image)
        if platform is None or found == platform:
            return image, found, isa
        others.append(found)
    if others:
        raise CannotRun(
            f"the image {reference!r} is {' and '.join(others)}, not {platform}",
            hint=f"leave --platform out, or get that one: zun-arm image build {reference} --platform {platform}",
        )
    raise NotFound(
        f"there is no image {reference!r}" + (f" for {platform}" if platform else ""),
        hint="zun-arm image list shows those there are; zun-arm image build tiny makes one",
    )


def _recipe_names(host: Host, reference: str, platform: str | None) -> list[str]:
    if "/" in reference or ":" in reference:
        return []
    if platform is not None:
        return [image_name(reference, platform)]
    runs = host.board.describe().runs
    order = sorted(
        (ARM_V7, ARM64, *(other for other in PLATFORMS if other not in (ARM_V7, ARM64))),
        key=lambda one: _rank(runs[one], one),
    )
    return [image_name(reference, one) for one in order]


def _rank(run: Run, platform: str) -> tuple[bool, int]:
    """ARM before the rest (it is what people come for), and of those the best execution first."""
    execution = _BETTER_FIRST.index(run.execution) if run.execution else len(_BETTER_FIRST)
    return ("arm" not in platform, execution)


def measured(host: Host, image: Image) -> tuple[str, Isa]:
    """Platform and instruction set of an image from its own programs; measured once, then remembered by its id."""
    known = host.book.measured(image.id) or host.book.measure(image.id, lambda: host.engine.save_image(image.id))
    if known is None:
        raise BadImage(
            f"the image {_shown(image)} holds no program for any platform zun-arm knows",
            hint=f"known platforms: {', '.join(PLATFORMS)}",
        )
    return known


def run_for(host: Host, image: Image, platform: str, isa: Isa) -> Run:
    """How this board runs the image; :class:`CannotRun` says why it cannot."""
    run = host.board.run_for(isa)
    if run.execution is None:
        board = host.board.describe()
        raise CannotRun(
            f"{board.model} cannot run the image {_shown(image)} ({platform}, {isa}): {run.why}",
            hint="zun-arm board shows what this machine runs",
        )
    return run


def _shown(image: Image) -> str:
    return repr(image.names[0] if image.names else image.id[:19])


def take_snapshot(host: Host, sandbox: Sandbox, name: str) -> dict[str, str]:
    """Keep a sandbox's file system as an image called ``name``; measured anew when it is first launched."""
    if not _IMAGE_NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} is not a name for an image",
            hint="use lower-case letters, digits, . _ - and one :, as in lab1:monday",
        )
    image_id = host.engine.snapshot(sandbox, name)
    return {"id": image_id, "name": name if ":" in name else f"{name}:latest", "platform": sandbox.record.platform}
