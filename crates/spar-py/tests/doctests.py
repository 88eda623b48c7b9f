"""Runs every program in the package's documentation, and in the pages that are named."""

import doctest
import sys

import spar
import spar._evaluate
import spar.stats

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

tried = failed = 0
for module in (spar, spar.stats, spar._evaluate):
    done = doctest.testmod(module, optionflags=OPTIONS)
    assert done.attempted, f"{module.__name__} has no programs"
    tried, failed = tried + done.attempted, failed + done.failed
for page in sys.argv[1:]:
    done = doctest.testfile(page, module_relative=False, optionflags=OPTIONS)
    assert done.attempted, f"{page} has no programs"
    tried, failed = tried + done.attempted, failed + done.failed
# What has no documentation cannot be wrong in it.
for owner in (spar, spar.stats, spar.Policy, spar.Dataset):
    names = getattr(owner, "__all__", None) or [n for n in vars(owner) if n[0] != "_"]
    for name in names:
        assert getattr(owner, name).__doc__, f"{owner.__name__}.{name} is not documented"
print(f"{tried} lines of programs, {failed} wrong")
sys.exit(failed > 0)
