"""Settings of the process."""

import platform

import pytest

CODE = """
import resource, torch
from utils.runtime import keep_freed_memory
{first}
def page_faults(calls):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(calls):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
page_faults(30)
print(page_faults(10))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is a setting of glibc")
def test_freed_memory_is_used_for_the_next_tensor(script):
    def page_faults(first):
        process = script("-c", CODE.format(first=first))
        assert process.returncode == 0, process.stderr
        return int(process.stdout)

    assert page_faults("keep_freed_memory()") < page_faults("") / 4
