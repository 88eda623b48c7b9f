#!/bin/sh
# Stands for python3 in the tests of set-up: `pip download` copies the wheel
# that lies beside this script, everything else is the real python3's.
here=$(dirname "$0")
if [ "$1" = -c ]; then
    # Packages that "are installed" lie in the folder `site`.
    PYTHONPATH="$here/site" exec python3 "$@"
elif [ "$2" != pip ]; then
    exec python3 "$@"
fi
echo "$*" >>"$here/calls"
if [ ! -f "$here/fake.whl" ]; then
    echo "WARNING: Retrying after a broken connection" >&2
    echo "ERROR: No matching distribution found" >&2
    echo "hint" >&2
    exit 1
fi
while [ "$1" != --dest ]; do shift; done
mkdir -p "$2" && cp "$here/fake.whl" "$2/"
