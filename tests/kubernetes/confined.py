"""A file system that nobody can write to but where a pod's volumes let it, as in a container."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable

from tests.kubernetes.rendered import Workload

READ_ONLY = """
while [ "$1" != -- ]; do mount --bind "$1" "$1" && shift || exit 9; done
shift && mount -o remount,bind,ro / && exec "$@"
"""


@functools.cache
def can_confine() -> bool:
    """Whether this machine lets the tests mount (root may, in most containers it may not)."""
    try:
        words = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", "--", "true"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def confined(one: Workload, here: Callable[[str], str]) -> list[str]:
    """What to put before a command line, so that it can write to its workload's volumes alone.

    Args:
        one: Its mounts say what may be written to.
        here: The folder of this machine for a path of the container.
    """
    if not can_confine():
        return []
    volumes = {volume["name"]: volume for volume in one.pod["volumes"]}
    mounts = [m for m in one.main["volumeMounts"] if "configMap" not in volumes[m["name"]]]
    folders = [here(mount["mountPath"]) for mount in mounts if not mount.get("readOnly")]
    return ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", *folders, "--"]
