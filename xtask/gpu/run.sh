#!/bin/sh
# Checks and measures `spar` on the GPU of this machine: `cargo xtask gpu-check --pack` made
# the folder this lies in. Needs a driver, the run-time compiler NVRTC (a CUDA toolkit's, or
# that in a Python package) and, for the comparison with JAX and PyTorch, a Python that has
# them. Correctness first, then times. Every step has its own limit, none begins after
# SPAR_GPU_TOTAL_S seconds, and what is there at the end, or when this is stopped, is put
# together in summary.json and summary.md. Ends with 0 if everything that ran holds.
#
#   ./run.sh [FOLDER]        into FOLDER, new or of an earlier run; ./out if none is given
#
# SPAR_GPU_SKIP="memcheck train-cpu" leaves steps out, by name.
#
# Without a GPU, or with SPAR_GPU_STAND_IN=1, it runs over the stand-in on the CPU, at a
# small size: that shows that this script works, and no speed.
#
# The programs lie packed in bin/; they are unpacked (85 MB) below TMPDIR, and removed at the end.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 2
out=${1:-"$here/out"}
total=${SPAR_GPU_TOTAL_S:-540}
seed=${SPAR_CUDA_SEED:-$(date +%s)}
began=$(date +%s)
# Only what an earlier run left is ever removed.
if [ -n "$(ls -A "$out" 2>/dev/null)" ] && [ ! -e "$out/steps.jsonl" ]; then
    echo "error: $out holds files that are not this script's; give an empty folder" >&2
    exit 2
fi
rm -rf "$out"
mkdir -p "$out/lib" && : >"$out/steps.jsonl" || exit 2
out=$(cd "$out" && pwd) || exit 2
bin=$(mktemp -d "${TMPDIR:-/tmp}/gpu-check.XXXXXX") || exit 2
gpu="$bin/spar-gpu"
export SPAR_CUDA_SEED="$seed" RAYON_NUM_THREADS=1

trap 'rm -rf "$bin"' EXIT
trap 'exit 1' HUP INT TERM
for packed in "$here"/bin/*.gz; do
    program="$bin/$(basename "$packed" .gz)"
    if ! gzip -dc "$packed" >"$program" || ! chmod +x "$program"; then
        echo "error: $packed cannot be unpacked into $bin; set TMPDIR to a folder with space" >&2
        exit 2
    fi
done
if ! "$gpu" --help >/dev/null; then
    echo "error: $gpu does not run on this machine, or TMPDIR is no place for programs" >&2
    exit 2
fi

summary() {
    trap - EXIT
    "$gpu" summary "$out"
    rc=$?
    rm -rf "$bin"
    exit $rc
}
# A step that is running ends with its own limit.
trap summary EXIT

# note STEP STATE SECONDS TEXT: what became of a step.
note() {
    text=$(printf %s "$4" | tr -d '"\\' | tr '\n\t' '  ' | tr -cd '[:print:]' | cut -c 1-300)
    printf '{"step":"%s","state":"%s","seconds":%s,"note":"%s"}\n' "$1" "$2" "$3" "$text" \
        >>"$out/steps.jsonl"
    printf '%-22s %-9s %4s s  %s\n' "$1" "$2" "$3" "$text"
}

# step NAME LIMIT COMMAND...: its output to NAME.json, its complaints to NAME.log.
step() {
    name=$1 limit=$2
    shift 2
    case " ${SPAR_GPU_SKIP:-} " in
    *" $name "*)
        note "$name" skipped 0 "SPAR_GPU_SKIP names it"
        return 1
        ;;
    esac
    start=$(date +%s)
    left=$((total - (start - began)))
    if [ "$left" -lt 5 ]; then
        note "$name" skipped 0 "no time left"
        return 1
    fi
    [ "$limit" -le "$left" ] || limit=$left
    timeout -k 5 "$limit" "$@" >"$out/$name.json" 2>"$out/$name.log" <"${input:-/dev/null}"
    rc=$?
    took=$(($(date +%s) - start))
    case $rc in
    0) note "$name" passed "$took" "" ;;
    124 | 137) note "$name" "timed out" "$took" "limit $limit s" ;;
    *) note "$name" failed "$took" "exit $rc: $(tail -n 1 "$out/$name.log")" ;;
    esac
    return $rc
}

# The compiler's folders, the toolkit's first: its versions fit the driver.
compilers() {
    for place in ${SPAR_NVRTC_DIR:-} ${CUDA_HOME:-} /usr/local/cuda /usr/local/cuda-* /usr/lib /usr/lib64; do
        find -L "$place" -maxdepth 4 -name 'libnvrtc.so.*' 2>/dev/null
    done
    for python in "${SPAR_PYTHON:-python3}" python3; do
        "$python" -c 'import sys; print("\n".join(p for p in sys.path if p))' 2>/dev/null
    done | sort -u | while read -r place; do
        find -L "$place/nvidia" -maxdepth 4 -name 'libnvrtc.so.*' 2>/dev/null
    done
}

# --- Which GPU, with which compiler -----------------------------------------------------
libraries=${LD_LIBRARY_PATH:-}
with() {
    LD_LIBRARY_PATH="$1${libraries:+:$libraries}"
    export LD_LIBRARY_PATH
}
found=no
if [ -z "${SPAR_GPU_STAND_IN:-}" ]; then
    if "$gpu" device >"$out/device.json" 2>"$out/device.log"; then
        found="the system's compiler"
    else
        for compiler in $(compilers | grep -v builtins | sort -u -V -r); do
            # The program asks for the name without a version.
            ln -sf "$compiler" "$out/lib/libnvrtc.so"
            with "$out/lib:$(dirname "$compiler")"
            if "$gpu" device >"$out/device.json" 2>"$out/device.log"; then
                found=$compiler
                break
            fi
        done
    fi
fi
if [ "$found" = no ]; then
    for node in /dev/nvidiactl /dev/nvidia0 /dev/dxg; do
        if [ -e "$node" ] && [ -z "${SPAR_GPU_STAND_IN:-}" ]; then
            note device failed 0 "this machine has a GPU ($node): $(tail -n 1 "$out/device.log")"
            exit 1
        fi
    done
    with "$here/stand-in"
    if ! "$gpu" device >"$out/device.json" 2>"$out/device.log"; then
        note device failed 0 "neither a GPU nor its stand-in: $(tail -n 1 "$out/device.log")"
        exit 1
    fi
    stand_in=yes
    found="the stand-in's compiler"
else
    stand_in=no
fi
note device passed 0 "$found"
{
    echo "date: $(date -u '+%Y-%m-%d %H:%M UTC')"
    echo "commit: $(cat "$here/commit")"
    echo "seed of the checks: $seed"
    echo "compiler: $found"
    if [ $stand_in = no ]; then
        nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem \
            --format=csv,noheader 2>/dev/null | sed 's/^/GPU: /'
    fi
    uname -srm
} >"$out/machine.txt"

# --- Correctness ------------------------------------------------------------------------
SPAR_CUDA_REQUIRED=1
export SPAR_CUDA_REQUIRED
checks=120
[ $stand_in = no ] || checks=240
step kernels $checks "$bin/cuda_device" --test-threads=1 --nocapture
updates=20 long=2000
[ $stand_in = no ] || { updates=6 long=60; }
step agree 120 "$gpu" agree --updates "$updates" --seed "$seed"

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer \
    /opt/nvidia/*/compute-sanitizer 2>/dev/null | head -n 1)
if [ $stand_in = yes ]; then
    note memcheck skipped 0 "the stand-in has its own guards"
    note racecheck skipped 0 "no GPU"
elif [ -z "$sanitizer" ]; then
    note memcheck skipped 0 "no compute-sanitizer"
    note racecheck skipped 0 "no compute-sanitizer"
else
    step memcheck 60 "$sanitizer" --tool memcheck --error-exitcode 9 --log-file "$out/memcheck.txt" \
        "$gpu" once
    step racecheck 90 "$sanitizer" --tool racecheck --error-exitcode 9 \
        --log-file "$out/racecheck.txt" "$gpu" once --size 64x64
fi

# One training run on the CPU and on the GPU, whole: data, anchor, updates, log, evaluation.
train() {
    step "train-$1" 120 "$bin/spar" train --dataset "$out/data.hdf5" --method spar \
        --env pointmass --device "$1" --out "$out/run-$1" --updates "$long" \
        --anchor-updates "$long" --warmup "$((long / 4))" --eval-episodes 2 --json
}
[ $stand_in = no ] || train() {
    step "train-$1" 120 "$bin/spar" train --dataset "$out/data.hdf5" --method bc \
        --env pointmass --device "$1" --out "$out/run-$1" --updates "$long" --batch-size 4 \
        --eval-episodes 2 --json
}
if step data 20 "$gpu" data "$out/data.hdf5"; then
    train cpu && train cuda && step curves 20 "$gpu" curves "$out/run-cpu" "$out/run-cuda"
fi
rm -f "$out/data.hdf5"

# --- Times ------------------------------------------------------------------------------
seconds=2 sides="1 4 16 45"
[ $stand_in = no ] || { seconds=0.1 sides="1 2"; }
step time 60 "$gpu" time --seconds $seconds
for by in lanes streams processes; do
    for runs in $sides; do
        step "beside-$by-$runs" 45 "$gpu" beside --by $by --runs "$runs" --seconds $seconds
    done
done

# The same updates in JAX and PyTorch, on the same GPU: the losses first, then the time.
step losses 30 "$gpu" losses
python=${SPAR_PYTHON:-python3}
peer() {
    name=$1
    shift
    if [ $stand_in = yes ]; then
        note "$name" skipped 0 "nothing to compare the stand-in with"
    elif ! "$python" -c "import $name, numpy, safetensors" 2>"$out/$name.log"; then
        note "$name" skipped 0 "$python: $(tail -n 1 "$out/$name.log")"
    else
        for contender in "$@"; do
            echo "losses spar/$contender"
            echo "time spar/$contender $seconds"
        done >"$out/$name.requests"
        input="$out/$name.requests"
        # What the GPU programs need of the compiler is theirs.
        step "$name" 100 env LD_LIBRARY_PATH="$libraries" "$python" "$here/peers/${name}_peer.py" \
            --inputs "$out/inputs.safetensors" --device gpu
        input=
    fi
}
if step inputs 20 "$gpu" inputs "$out/inputs.safetensors"; then
    peer jax jax-scan jax-scan-tf32 jax-jit
    peer torch torch-graph torch-eager torch-compile
fi
rm -f "$out/inputs.safetensors"
exit 0
